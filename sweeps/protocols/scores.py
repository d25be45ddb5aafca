"""Scores: the values of fills that were rated by a protocol, image by image, as a file that can be compared later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweeps.errors import SweepError
from sweeps.protocols import identity
from sweeps.spec.trial import digest


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunScores(_Strict):
    """The fills of one training run, or of a method without training."""

    folder: str = Field(description="the folder of the fills; empty for a method without training")
    values: dict[str, list[float | None]] = Field(description="each metric's value of each image; null: not defined")
    changed_px: list[int] = Field(
        description="known pixels of each image that the fill changed; the metrics do not see it"
    )
    largest_change: int = Field(description="largest change of a known pixel, 0 to 255")


class FillScores(_Strict):
    """Fills of one name."""

    name: str = Field(description="its name in tables")
    untrained: bool = Field(description="whether it is a method without training, which is in every table")
    runs: list[RunScores] = Field(min_length=1, description="one for each seed")


class RatedImages(_Strict):
    """What was rated, beside the protocol."""

    count: int = Field(description="number of images, with all kinds of masks")
    pixels: str = Field(description="checksum of all images")
    masks: str = Field(description="checksum of all masks")


class Scores(_Strict):
    schema_: int = Field(1, alias="schema", description="version of this document")
    protocol: str = Field(description="name of the protocol")
    evaluation: dict[str, Any] = Field(description="what decides the numbers: images, masks and metrics")
    published_images: int | None = Field(
        description="number of rated images of the published tables (photographs x masks), if it is known"
    )
    tested: RatedImages = Field(description="what was rated")
    names: list[str] = Field(description="the photograph of each image")
    groups: list[str] = Field(description="the kind of mask of each image; empty where a protocol has one")
    hole_fractions: list[float] = Field(description="share of each image that is hole, or manipulated")
    fills: list[FillScores] = Field(description="what was rated")

    @property
    def hash(self) -> str:
        """The hash of the protocol."""
        return identity.evaluation_hash(self.evaluation)

    @property
    def detections(self) -> bool:
        """Whether they are of detections, and not of fills."""
        return self.evaluation.get("task") == "detect"

    @property
    def metrics(self) -> list[str]:
        return list(self.evaluation["metrics"])

    def identity(self) -> Mapping[str, Any]:
        """What has to be equal where values are compared."""
        return {**self.evaluation, "tested": self.tested.model_dump()}


def write(scores: Scores, file: Path) -> None:
    """Write scores with their checksum, and replace a file only when they are complete."""
    import json
    import os

    plain = scores.model_dump(by_alias=True)
    text = json.dumps({**plain, "checksum": digest(plain)}, ensure_ascii=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def read(file: Path) -> Scores:
    """Read scores. SweepError for another file, and for one that was changed since it was written."""
    import json

    allowed, fix = "a file that `sweeps score --out FILE.json` has written", "rate the fills again"
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        checksum = plain.pop("checksum")
        scores = Scores.model_validate(plain)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise SweepError(str(file), f"it holds no scores: {str(error).splitlines()[0]}", allowed, fix) from None
    if digest(plain) != checksum:
        raise SweepError(str(file), "it was changed after it was written: its checksum is another one", allowed, fix)
    return scores
