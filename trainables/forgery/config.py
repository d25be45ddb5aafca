"""Configuration of a forged set (forge block): photographs, holes, inpainters and encoders; imports no torch.

A forge block is a forge file, the section `data.forged` of a detection study, and `config.json` of a forged set.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from trainables.config.messages import unknown_name_error, validated
from trainables.config.sections import TRIAL, CaptionSourceConfig, SizedConfig, StrictConfig
from trainables.config.variants import section_options, variant_class, without_none
from trainables.errors import TrialError
from trainables.registry import model_config, model_names

NOT_FILLS = ("outputs",)
"""Models without parameters that do not fill holes themselves."""

Share = Annotated[float, Field(gt=0, le=1)]


def _ascending(pair: list[int]) -> list[int]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number is above the second ({pair[0]} > {pair[1]})")
    return pair


Quality = Annotated[
    list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)
]


class PngConfig(StrictConfig):
    name: Literal["png"] = "png"
    level: int = Field(1, ge=0, le=9, description="lossless compression: 0 none, 1 fastest, 9 smallest files")


class JpegConfig(StrictConfig):
    name: Literal["jpeg"] = "jpeg"
    quality: Quality = Field(
        [75, 95], description="[lowest, highest] quality, drawn uniformly, the same for all images of a photograph"
    )


class WebpConfig(StrictConfig):
    name: Literal["webp"] = "webp"
    quality: Quality = Field(
        [75, 95], description="[lowest, highest] quality, drawn uniformly, the same for all images of a photograph"
    )


ENCODERS: dict[str, type[StrictConfig]] = {"png": PngConfig, "jpeg": JpegConfig, "webp": WebpConfig}


class ForgeConfig(StrictConfig):
    """The top-level keys of a forge block. Shares are of the photographs, drawn independently for each."""

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
    fake_reals: Share | None = Field(
        None,
        description="share of the reals that pass through the inpainter with an empty hole; with `composite: raw` this "
        "changes all pixels, otherwise none; null: none",
    )
    pasted: Share | None = Field(
        None, description="share with an additional negative: the hole filled with its own pixels; null: none"
    )
    resaved: Share | None = Field(
        None,
        description="share with an additional negative: the hole filled with the photograph saved as JPEG; null: none",
    )
    seed: int = Field(
        0, ge=0, description="seed of masks, inpainters, qualities and shares; splits do not depend on it"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ForgeConfig:
        if self.feather is not None and self.composite == "raw":
            raise ValueError("`feather` blends the fill at the edge of the hole, so it requires `composite: hole`")
        return self


SECTIONS = ("images", "captions", "mask", "inpainters", "encoder", "fake_encoder")


def fills() -> tuple[str, ...]:
    """Names of the inpainters that need no training."""
    return tuple(name for name in model_names() if not model_config(name).trains and name not in NOT_FILLS)


def resolve_forge(block: Any, section: str = "") -> dict[str, Any]:
    """A complete block with every default filled in, as plain data; options that are off are None. Raises TrialError.

    section: the dotted key of the block; '' for a forge file.
    """
    try:
        return _resolve(block)
    except TrialError as error:
        if not section:
            raise
        key = f"{section}.{error.key}" if error.key else section
        raise TrialError(f"{section}: {error.given}", error.why, error.allowed, error.fix, key) from None


def _resolve(block: Any) -> dict[str, Any]:
    keys = (*SECTIONS, *ForgeConfig.model_fields)
    if not isinstance(block, dict):
        raise TrialError(
            f"{block!r}",
            "a forge block must be a mapping",
            ", ".join(keys),
            "{images: {name: cifar10}, mask: {name: box}, inpainters: [{name: telea}]}",
        )
    for key in block:
        if key not in keys:
            raise unknown_name_error("key", str(key), keys, str(key))
    for key, example in (("images", "{name: cifar10}"), ("inpainters", "[{name: telea}]")):
        if block.get(key) is None:
            raise TrialError(
                f"a forge block without `{key}`", f"`{key}` is required", f"{key}: {example}", f"add `{key}:`"
            )
    mask = {"name": "box"} if block.get("mask") is None else block["mask"]
    section = validated("mask", variant_class("mask", mask), mask)
    if section["name"] == "object":
        raise TrialError(
            "mask.name: object",
            "forged sets do not support object masks",
            "any other mask",
            "mask: {name: box}",
            "mask.name",
        )
    plain = {key: value for key, value in block.items() if key not in SECTIONS}
    return {
        "images": validated("images", SizedConfig, block["images"]),
        "captions": None
        if block.get("captions") is None
        else validated("captions", CaptionSourceConfig, block["captions"]),
        "mask": section,
        "inpainters": _inpainters(block["inpainters"]),
        "encoder": _encoder("encoder", block.get("encoder") or {"name": "png"}),
        "fake_encoder": None if block.get("fake_encoder") is None else _encoder("fake_encoder", block["fake_encoder"]),
        **validated("", ForgeConfig, plain),
    }


def forged_id(resolved: Mapping[str, Any]) -> str:
    """The id of a forged set in a store: 16 hex digits of a hash of the block without options that are off."""
    text = json.dumps(
        without_none(resolved), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forge_needs(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the trials whose networks are used as inpainters, each once, in the order of the block."""
    return tuple(dict.fromkeys(each["trial"] for each in resolved["inpainters"] if "trial" in each))


def _inpainters(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise TrialError(
            f"inpainters: {value!r}",
            "it must be a list of at least one inpainter",
            f"[{{name: ...}}, {{trial: ...}}]; name: {', '.join(fills())}; trial: the id of a trained inpainter",
            "inpainters: [{name: telea}]",
            "inpainters",
        )
    inpainters = [_inpainter(f"inpainters.{index}", each) for index, each in enumerate(value)]
    for index, each in enumerate(inpainters):
        if each in inpainters[:index]:
            raise TrialError(
                f"inpainters.{index}: {each}",
                "it is listed twice, but inpainters are drawn with equal probability",
                "each inpainter once",
                "remove one of the two",
                f"inpainters.{index}",
            )
    return inpainters


def _inpainter(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or ("name" in value) == ("trial" in value):
        raise TrialError(
            f"{key}: {value!r}",
            "exactly one of `name` and `trial` is required",
            f"{{name: ...}} with {', '.join(fills())}, or {{trial: ...}} with the id of a trained inpainter",
            f"{key}: {{name: telea}}",
            key,
        )
    if "name" in value:
        name = value["name"]
        if name not in fills():
            raise unknown_name_error(f"{key}.name", str(name), fills(), f"{key}.name")
        return {"name": name, **validated(key, model_config(name), section_options(value))}
    trial = value["trial"]
    if set(value) != {"trial"} or not isinstance(trial, str) or not re.match(TRIAL, trial):
        raise TrialError(
            f"{key}: {value!r}",
            "it is not a trial id without further options",
            "{trial: 16 digits of 0-9 and a-f}",
            f"{key}: {{trial: ID}}, with an id that `sweeps status` lists",
            f"{key}.trial",
        )
    return {"trial": trial}


def _encoder(key: str, value: Any) -> dict[str, Any]:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(value, dict) or name not in ENCODERS:
        raise unknown_name_error(f"{key}.name", str(name), tuple(ENCODERS), f"{key}.name")
    return validated(key, ENCODERS[str(name)], value)


# --- public sets ------------------------------------------------------------------------------------------------------


class SetConfig(StrictConfig):
    """The images to use of a public set; `trainables.forgery.public_datasets` describes the layouts."""

    layout: Literal["folder", "casia", "imd2020", "defacto", "coco_inpaint"] = Field(
        description="layout of the files: that of a published set, or `folder` with images/, masks/ and labels.csv"
    )
    path: str = Field(min_length=1, description="folder of the set, relative to the data root")
    authentic: str | None = Field(
        None,
        min_length=1,
        description="folder of authentic photographs, relative to the data root; only for defacto, which has none",
    )
    size: int = Field(256, ge=8, le=1024, description="side of the square that images are resized to, px")
    train: int | None = Field(None, ge=1, description="number of training images; null for all")
    val: int | None = Field(None, ge=1, description="number of validation images; null for all")
    test: int | None = Field(None, ge=1, description="number of test images; null for all")

    @model_validator(mode="after")
    def _options_fit_the_layout(self) -> SetConfig:
        if self.authentic is not None and self.layout != "defacto":
            raise ValueError("`authentic` is allowed only with `layout: defacto`; the other sets include photographs")
        return self


def resolve_set(value: Any, section: str = "set") -> dict[str, Any]:
    """The section of a public set with every default filled in. Raises TrialError."""
    return validated(section, SetConfig, value)
