"""Scores: the values of fills that were rated by a protocol, image by image, as a file that can be compared later."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sweeps.errors import SweepError
from sweeps.protocols import identity
from sweeps.spec.trial import digest


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunScores(_Strict):
    """The fills of one training run, or of a method without training."""

    folder: str = Field(description="the folder of the fills; empty for a method without training")
    values: dict[str, list[float | None]] = Field(
        description="each metric's value of each image, null: not defined; for detections of whole images, the `score`"
    )
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
    names: list[str] = Field(min_length=1, description="the photograph of each image")
    groups: list[str] = Field(description="the kind of mask of each image; '' where a protocol has one")
    hole_fractions: list[float] = Field(
        description="share of each image that is hole, or manipulated; for detections of whole images, 1: manipulated"
    )
    fills: list[FillScores] = Field(min_length=1, description="what was rated")

    @field_validator("evaluation")
    @classmethod
    def _has_metrics(cls, evaluation: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(evaluation.get("metrics"), dict) or not evaluation["metrics"]:
            raise ValueError("`evaluation` has no metrics")
        return evaluation

    @model_validator(mode="after")
    def _fits(self) -> Scores:
        """Every list has one value for each image, and every run has the metrics of the evaluation."""
        names = [fill.name for fill in self.fills]
        if len(set(names)) < len(names):
            raise ValueError("two fills have the same name")
        columns: dict[str, Sized] = {"groups": self.groups, "hole_fractions": self.hole_fractions}
        lengths = {"tested.count": self.tested.count, **{name: len(column) for name, column in columns.items()}}
        for fill in self.fills:
            for run in fill.runs:
                if set(run.values) != ({"score"} if self.image_level else set(self.metrics)):
                    raise ValueError(f"{fill.name!r} has other metrics than `evaluation`")
                lengths[f"changed_px of {fill.name!r}"] = len(run.changed_px)
                lengths |= {f"{metric} of {fill.name!r}": len(column) for metric, column in run.values.items()}
                _check_lengths(lengths, len(self.names))
        return self

    @property
    def hash(self) -> str:
        """The hash of the protocol."""
        return identity.evaluation_hash(self.evaluation)

    @property
    def detections(self) -> bool:
        """Whether they are of detections, and not of fills."""
        return self.evaluation.get("task") == "detect"

    @property
    def image_level(self) -> bool:
        """Whether they are of detections of whole images: one number for each."""
        return self.detections and "scores" in self.evaluation

    @property
    def metrics(self) -> list[str]:
        return list(self.evaluation["metrics"])

    def identity(self) -> Mapping[str, Any]:
        """What has to be equal where values are compared."""
        return {**self.evaluation, "tested": self.tested.model_dump()}


def _check_lengths(lengths: Mapping[str, int], images: int) -> None:
    for what, length in lengths.items():
        if length != images:
            raise ValueError(f"{what} has {length:,} values, and there are {images:,} images")


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
        scores, actual = Scores.model_validate(plain), digest(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        why = ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)
        raise SweepError(str(file), f"it holds no scores: {why}", allowed, fix) from None
    except OSError as error:
        near = sorted(path.name for path in file.parent.glob("*.json")) if file.parent.is_dir() else []
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        named = f"{allowed}; in {file.parent} there are {', '.join(near[:10]) or 'no files of JSON'}"
        raise SweepError(str(file), why, named, "name the file that --out has written") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        why = str(error) or type(error).__name__
        raise SweepError(str(file), f"it holds no scores: {why.splitlines()[0]}", allowed, fix) from None
    if actual != checksum:
        raise SweepError(str(file), "it was changed after it was written: its checksum is another one", allowed, fix)
    return scores
