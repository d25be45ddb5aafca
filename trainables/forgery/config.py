"""Configuration of a forged set (forge block): photographs, holes, inpainters and encoders; imports no torch.

A forge block is a forge file, the section `data.forged` of a detection study, and `config.json` of a forged set.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from trainables import registry
from trainables.config.messages import unknown_name_error, validated
from trainables.config.sections import TRIAL, CaptionSourceConfig, StrictConfig
from trainables.config.task_config import without_none
from trainables.config.variant import Variant
from trainables.data.section import Photographs
from trainables.errors import TrialError
from trainables.forgery import layouts

NOT_FILLS = ("outputs",)
"""Models without parameters that do not fill holes themselves."""

Share = Annotated[float, Field(gt=0, le=1)]
TRIAL_SEED = "trial"
"""The `seed` of a set that is drawn anew for every seed of a detection study."""
_NEWER = {"feather_side": (None, "inside"), "pasted_by": (None,), "controls": (None,)}
"""Options that older blocks do not have, and the values with which they are off: they are left out then."""


def _ascending(pair: list[int]) -> list[int]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number is above the second ({pair[0]} > {pair[1]})")
    return pair


Quality = Annotated[
    list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]


class PngConfig(StrictConfig):
    level: int = Field(1, ge=0, le=9, description="lossless compression: 0 none, 1 fastest, 9 smallest files")


class JpegConfig(StrictConfig):
    quality: Quality = Field(
        [75, 95], description="[lowest, highest] quality, drawn uniformly, the same for all images of a photograph"
    )


class WebpConfig(StrictConfig):
    quality: Quality = Field(
        [75, 95], description="[lowest, highest] quality, drawn uniformly, the same for all images of a photograph"
    )


ENCODERS: dict[str, type[StrictConfig]] = {"png": PngConfig, "jpeg": JpegConfig, "webp": WebpConfig}


# --- inpainters -------------------------------------------------------------------------------------------------------


def fills() -> tuple[str, ...]:
    """Names of the inpainters that need no training."""
    trains = {name: registry.find("method", name).config.trains for name in registry.names("method")}
    return tuple(name for name, trained in trains.items() if not trained and name not in NOT_FILLS)


def _inpainter(value: Any) -> dict[str, Any]:
    """{name: ..., options} or {trial: id}."""
    if not isinstance(value, dict) or ("name" in value) == ("trial" in value):
        raise TrialError(
            f"{value!r}",
            "exactly one of `name` and `trial` is required",
            f"{{name: ...}} with {', '.join(fills())}, or {{trial: ...}} with the id of a trained inpainter",
            "{name: telea}",
        )
    if "name" in value:
        if value["name"] not in fills():
            raise unknown_name_error("name", str(value["name"]), fills(), "name")
        return registry.section("method").resolve(value)
    trial = value["trial"]
    if set(value) != {"trial"} or not isinstance(trial, str) or not re.match(TRIAL, trial):
        raise TrialError(
            f"{value!r}",
            "it is not a trial id without further options",
            "{trial: 16 digits of 0-9 and a-f}",
            "{trial: ID}, with an id that `sweeps status` lists",
            "trial",
        )
    return {"trial": trial}


class InpainterItem:
    """Annotation of a list item: a fill without training, or the trial of a trained inpainter."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_inpainter)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        methods = registry.Options("method")
        fill = Variant({name: methods[name] for name in fills()}).__get_pydantic_json_schema__(schema, handler)
        trial = {"trial": {"type": "string", "pattern": TRIAL}}
        trained = {"type": "object", "properties": trial, "required": ["trial"], "additionalProperties": False}
        return {"oneOf": [*fill["oneOf"], trained]}


def _distinct(inpainters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for index, each in enumerate(inpainters):
        if each in inpainters[:index]:
            raise TrialError(
                f"{each}",
                "it is listed twice, but inpainters are drawn with equal probability",
                "each inpainter once",
                "remove one of the two",
                str(index),
            )
    return inpainters


def _not_object(section: dict[str, Any]) -> dict[str, Any]:
    if section["name"] == "object":
        raise TrialError(
            "name: object", "forged sets do not support object masks", "any other mask", "mask: {name: box}", "name"
        )
    return section


# --- forge blocks -----------------------------------------------------------------------------------------------------

Encoder = Annotated[dict[str, Any], Variant(ENCODERS)]


class ForgeConfig(StrictConfig):
    """A forge block. Shares are of the photographs, drawn independently for each."""

    images: Photographs = Field(description="{name: ..., size: ...}: the photographs")
    captions: CaptionSourceConfig | None = Field(None, description="captions of the photographs; null: none")
    mask: Annotated[dict[str, Any], registry.section("mask"), AfterValidator(_not_object)] = Field(
        {"name": "box"}, validate_default=True, description="{name: ..., options}: the holes"
    )
    inpainters: Annotated[list[Annotated[dict[str, Any], InpainterItem()]], AfterValidator(_distinct)] = Field(
        min_length=1, description="[{name: telea}, {trial: ID}]: fills without training, and trained inpainters"
    )
    encoder: Encoder = Field({"name": "png"}, validate_default=True, description="{name: png, jpeg or webp, options}")
    fake_encoder: Encoder | None = Field(None, description="another encoder for the inpainted images; null: the same")
    composite: Literal["hole", "raw"] = Field(
        "hole",
        description="hole: a fake differs from the photograph in the hole only; raw: the inpainter's whole output",
    )
    reals: Literal["paired", "apart"] = Field(
        "paired",
        description="paired: each photograph gives a real and a fake; apart: of two photographs, one gives a real and "
        "one a fake",
    )
    feather: float | None = Field(
        None,
        gt=0,
        le=64,
        description="width of the blend between fill and photograph inside the hole's edge, px; null: a hard edge",
    )
    feather_side: Literal["inside", "outside"] | None = Field(
        None,
        description="outside: the blend lies in a ring around the drawn hole, which is filled too, so that all of the "
        "drawn hole is replaced fully, whatever its shape; null or inside: in the drawn hole",
    )
    fake_reals: Share | None = Field(
        None,
        description="share of the reals that pass through the inpainter with an empty hole; with `composite: raw` this "
        "changes all pixels, otherwise none; null: none",
    )
    pasted: Share | None = Field(
        None, description="share with an additional negative: the hole filled with its own pixels; null: none"
    )
    pasted_by: Literal["resampling"] | None = Field(
        None,
        description="resampling: the pixels of `pasted` were resized to 50 to 90 % and back, and saved by the encoder; "
        "null: they are the photograph's, so that the image equals it byte for byte",
    )
    resaved: Share | None = Field(
        None,
        description="share with an additional negative: the hole filled with the photograph saved as JPEG; null: none",
    )
    controls: Literal["instead"] | None = Field(
        None,
        description="instead: a `pasted` or `resaved` image takes the place of the photograph's real image, so that "
        "classes have equal sizes, and a photograph drawn for both gives the first; null: they are additional",
    )
    seed: Annotated[int, Field(ge=0)] | Literal["trial"] = Field(
        0,
        description="seed of masks, inpainters, qualities and shares; splits do not depend on it; trial: the seed of "
        "the trial, so that each seed of a detection study has a set of its own",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ForgeConfig:
        if self.feather is not None and self.composite == "raw":
            raise ValueError("`feather` blends the fill at the edge of the hole, so it requires `composite: hole`")
        if self.feather_side is not None and self.feather is None:
            raise ValueError("`feather_side` says where `feather` lies, so it requires a `feather`")
        if self.pasted_by is not None and self.pasted is None:
            raise ValueError("`pasted_by` says how the `pasted` images are made, so it requires a share of `pasted`")
        if self.controls is not None and self.pasted is None and self.resaved is None:
            raise ValueError("`controls` is about the `pasted` and `resaved` images, so it requires a share of them")
        return self


def resolve_forge(block: Any, folder: Path | None = None) -> dict[str, Any]:
    """A complete block with every default filled in, as plain data; what is off is None. Raises TrialError.

    folder: of the forge file, for names of files; None for the working directory.
    """
    resolved = validated("", ForgeConfig, block, {"folder": folder, "user_code": {}})
    if resolved["seed"] == TRIAL_SEED:
        raise TrialError(
            "seed: trial",
            "a set that is forged alone belongs to no trial",
            "a number, or `seed: trial` in the `forged` block of a detection study",
            "seed: 0",
            "seed",
        )
    leave_out_newer(resolved)
    return resolved


def leave_out_newer(block: dict[str, Any]) -> None:
    """Leave out options that are off and that older blocks do not have, so that the same block stays the same."""
    for name, off in _NEWER.items():
        if name in block and block[name] in off:
            del block[name]
    photographs = block.get("images", {})
    if photographs.get("use") is None:
        photographs.pop("use", None)


def of_trial(block: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    """The block of the set that a trial with this seed reads."""
    return {**block, "seed": seed} if block["seed"] == TRIAL_SEED else block


def forged_id(resolved: Mapping[str, Any]) -> str:
    """The id of a forged set in a store: 16 hex digits of a hash of the block without options that are off."""
    text = json.dumps(
        without_none(resolved), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forge_needs(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the trials whose networks are used as inpainters, each once, in the order of the block."""
    return tuple(dict.fromkeys(each["trial"] for each in resolved["inpainters"] if "trial" in each))


# --- public sets ------------------------------------------------------------------------------------------------------


def _known_layout(name: str) -> str:
    if name not in layouts.NAMES:
        raise unknown_name_error("layout", name, layouts.NAMES)
    return name


class SetConfig(StrictConfig):
    """The images to use of a public set, in one of `trainables.forgery.layouts`."""

    layout: Annotated[str, AfterValidator(_known_layout)] = Field(
        json_schema_extra={"enum": list(layouts.NAMES)},
        description="layout of the files: that of a published set, or `folder` with images/, masks/ and labels.csv",
    )
    path: str = Field(min_length=1, description="folder of the set, relative to the data root")
    authentic: str | None = Field(
        None,
        min_length=1,
        description="folder of authentic photographs, relative to the data root; only for defacto, which has none",
    )
    size: int = Field(
        256, ge=8, le=1024, description="side of the square that images are resized to, px; with `native`, of a window"
    )
    native: bool | None = Field(
        None,
        description="true: images keep their size; windows of `size` px are drawn from them in training, and laid over "
        "them in testing; null: they are resized to a square",
    )
    train: int | None = Field(None, ge=1, description="number of training images; null for all")
    val: int | None = Field(None, ge=1, description="number of validation images; null for all")
    test: int | None = Field(None, ge=1, description="number of test images; null for all")
    use: Literal["test", "all"] | None = Field(
        None,
        description="in `test_sets`: the images to test on, those of the test split or all of the set; null: test",
    )

    @model_validator(mode="after")
    def _options_fit_the_layout(self) -> SetConfig:
        if self.use == "all" and (self.train is not None or self.val is not None):
            raise ValueError(
                "`use: all` tests on all images, so `train` and `val` count none; `test` limits the number"
            )
        if self.authentic is not None and self.layout != "defacto":
            raise ValueError("`authentic` is allowed only with `layout: defacto`; the other sets include photographs")
        return self


def resolve_set(value: Any, section: str = "set") -> dict[str, Any]:
    """The section of a public set with every default filled in. Raises TrialError."""
    return validated(section, SetConfig, value)
