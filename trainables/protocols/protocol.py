"""A protocol: which part of an image is tested, which holes it gets, and by which metrics the fill is rated.

A protocol of detections says how the maps that a detector gives for the pixels of photographs are rated.

Imports no torch. A protocol is a file of these keys; its identity is a hash of what `Protocol.evaluation` returns, so
that a corrected reference changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from trainables.config.messages import validated
from trainables.config.sections import StrictConfig
from trainables.config.variant import Variant, options
from trainables.errors import TrialError
from trainables.protocols.mask_options import MASKS

FORMAT = 1
"""Version of how images are cut and holes are assigned to them; part of every hash."""
METRICS = {"psnr_db": 1, "psnr_db_hole": 1, "l1": 1, "l1_hole": 1, "l1_seam": 1, "l2": 1, "ssim": 1}
"""Metrics that a protocol can have, with the version of their code. A version rises when a value changes."""
DETECTION_METRICS = {"pixel_f1": 1, "pixel_iou": 1, "pixel_auc": 1}
"""The same for a protocol of detections."""
IMAGE_METRICS = {"auc": 1, "balanced_accuracy": 1, "f1": 1, "accuracy": 1, "precision": 1, "recall": 1}
"""The same for a protocol of detections of whole images."""
EQUALITY = {
    "bits": "the masks equal those of the authors' code for the same random numbers, bit for bit",
    "files": "the masks are the authors' published files",
    "exact": "nothing is random",
    "own": "the masks are of our own making",
}
"""What is known of the masks compared with those of the authors."""


def _versions(known: Mapping[str, int]) -> AfterValidator:
    """A check that metrics are known, in the version of the installed code."""

    def check(metrics: dict[str, int]) -> dict[str, int]:
        for name, version in metrics.items():
            if name not in known:
                raise ValueError(f"there is no metric {name!r}; there are {', '.join(known)}")
            if version != known[name]:
                raise ValueError(f"the installed code has version {known[name]} of {name}, not {version}")
        return metrics

    return AfterValidator(check)


class ImagesConfig(StrictConfig):
    """How a square is made of a photograph."""

    size: int = Field(ge=8, le=4096, description="side of the square, px")
    fit: Literal["shorter_side", "pad"] = Field(
        description="shorter_side: resize the shorter side to `size`; pad: resize nothing, mirror what is too small at "
        "its right and lower border"
    )
    crop: Literal["centre", "with_hole"] = Field(
        description="centre: cut the central square; with_hole: cut a square that the mask generator chooses"
    )
    filter: Literal["bicubic", "bilinear", "lanczos", "none"] = Field(description="Pillow's filter, for `shorter_side`")

    @model_validator(mode="after")
    def _filter_fits(self) -> ImagesConfig:
        if (self.fit == "pad") != (self.filter == "none"):
            raise ValueError("`filter: none` belongs to `fit: pad`, which does not resize")
        return self


class PublishedEvaluation(StrictConfig):
    """What a reader of a protocol has to know; nothing of it is hashed."""

    about: str = Field(min_length=1, description="what is evaluated, in one sentence")
    paper: str = Field(min_length=1, description="the publication that it follows")
    code: str | None = Field(None, description="the repository, commit and files that it follows; null: there are none")
    equality: Literal["bits", "files", "exact", "own"] = Field(
        description="how the masks relate to the authors': "
        + "; ".join(f"{key}: {text}" for key, text in EQUALITY.items())
    )
    evidence: str = Field(min_length=1, description="what was compared with what, and what is not known")
    published_images: int | None = Field(
        None,
        ge=1,
        description="number of rated images of the published tables (photographs x masks), if it is known",
    )
    lacks: list[str] = Field(default_factory=list, description="metrics of the publication that it does not have")


class Protocol(PublishedEvaluation):
    images: ImagesConfig = Field(description="the tested part of an image")
    masks: Annotated[dict[str, Any], Variant(MASKS)] = Field(description="the mask generator, with its options")
    metrics: Annotated[dict[str, int], _versions(METRICS)] = Field(
        min_length=1, description="each metric with the version of its code"
    )

    @model_validator(mode="after")
    def _crop_fits(self) -> Protocol:
        if (self.images.crop == "with_hole") != (self.masks["name"] == "lama"):
            raise ValueError("`crop: with_hole` belongs to the masks `lama`, whose generator chooses the square")
        return self

    def evaluation(self) -> dict[str, Any]:
        """What decides the numbers, as plain data: the part that is hashed."""
        plain = self.model_dump()
        return {"format": FORMAT, **{key: plain[key] for key in ("images", "masks", "metrics")}}

    def mask_options(self) -> Any:
        """The options of the mask generator."""
        return options(MASKS[self.masks["name"]], self.masks)


class MapsConfig(StrictConfig):
    """How a detector's map of the pixels of a photograph is rated."""

    threshold: float = Field(0.5, ge=0, lt=1, description="a pixel above it is detected")
    unmanipulated: Literal["zero", "left_out"] = Field(
        description="photographs without a manipulated pixel: their metrics are 0, or they are left out"
    )
    truth_suffix: str = Field(
        "", description="what the names of the true masks have after the names of the photographs"
    )


class DetectionProtocol(PublishedEvaluation):
    task: Literal["detect"] = Field(description="detections are rated")
    maps: MapsConfig = Field(description="how the maps are rated")
    metrics: Annotated[dict[str, int], _versions(DETECTION_METRICS)] = Field(
        min_length=1, description="each metric with the version of its code"
    )

    def evaluation(self) -> dict[str, Any]:
        """What decides the numbers, as plain data: the part that is hashed."""
        plain = self.model_dump()
        return {"format": FORMAT, **{key: plain[key] for key in ("task", "maps", "metrics")}}


class ImageScoresConfig(StrictConfig):
    """How the number that a detector gives for a photograph is rated."""

    threshold: float = Field(0.5, description="a photograph with a score above it is detected")


class ImageDetectionProtocol(PublishedEvaluation):
    task: Literal["detect"] = Field(description="detections are rated")
    scores: ImageScoresConfig = Field(description="how the scores are rated")
    metrics: Annotated[dict[str, int], _versions(IMAGE_METRICS)] = Field(
        min_length=1, description="each metric with the version of its code"
    )

    def evaluation(self) -> dict[str, Any]:
        """What decides the numbers, as plain data: the part that is hashed."""
        plain = self.model_dump()
        return {"format": FORMAT, **{key: plain[key] for key in ("task", "scores", "metrics")}}


AnyProtocol = Protocol | DetectionProtocol | ImageDetectionProtocol


def resolve(value: Any) -> AnyProtocol:
    """The protocol of a file's content, with every default filled in. Raises TrialError for the first wrong key."""
    keys = set(value) if isinstance(value, Mapping) else set()
    kind: type[AnyProtocol] = Protocol
    if "task" in keys:
        kind = ImageDetectionProtocol if "scores" in keys else DetectionProtocol
    return kind.model_validate(validated("", kind, value))


def evaluation_hash(evaluation: Mapping[str, Any]) -> str:
    """16 hex digits of what decides the numbers, as `sweeps.protocols.identity.evaluation_hash`, which is not imported
    here."""
    text = json.dumps(evaluation, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_evaluation(evaluation: Mapping[str, Any]) -> Protocol:
    """The protocol of inpainting with this evaluation, without what a reader has to know.

    Raises TrialError for an evaluation that the installed code would make otherwise.
    """
    words = {"about": "-", "paper": "-", "equality": "own", "evidence": "-"}
    plain = {key: value for key, value in evaluation.items() if key != "format"}
    protocol = Protocol.model_validate(validated("", Protocol, {**words, **plain}))
    if protocol.evaluation() != dict(evaluation):
        raise TrialError(
            f"an evaluation of format {evaluation.get('format')}",
            "the installed code cuts images, draws masks or computes metrics in another way",
            f"an evaluation of format {FORMAT}, with all options",
            "sweeps run FILE, which names the protocol as it is now",
        )
    return protocol


def check_masks_folder(protocol: Protocol, folder: str | None, given: str = "--masks") -> None:
    """Raise TrialError if a folder of mask files is given to a protocol without, or the other way round."""
    key = given if given.startswith("protocol.") else ""
    files = protocol.masks["name"] == "files"
    if folder is not None and not files:
        why, allowed = "the masks of this protocol are not read from files", "protocols whose masks are files"
        raise TrialError(f"{given} {folder}", why, allowed, f"leave {given} out", key)
    if folder is None and files:
        why = "the masks of this protocol are published files"
        raise TrialError(
            f"no {given}",
            why,
            f"the folder of these files: {protocol.code or 'those of its publication'}",
            f"{given} DIR",
            key,
        )
