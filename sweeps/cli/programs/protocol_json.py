"""The JSON documents of protocols and scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput
from sweeps.cli.programs.result_json import IntervalOutput, interval

if TYPE_CHECKING:
    from analysis.scores.table import ScoreTable
    from sweeps.api.protocols.named import NamedProtocol


class ProtocolOutput(JsonOutput):
    name: str = Field(description="name of the protocol, as `--protocol` takes it")
    hash: str = Field(description="its hash; it changes with whatever decides the numbers")
    equality: Literal["bits", "files", "exact", "own"] = Field(description="how its masks relate to the authors'")
    about: str = Field(description="what is evaluated")
    evaluation: dict[str, Any] = Field(description="what is hashed: images, masks and metrics")


class ProtocolsOutput(JsonDocument):
    protocols: list[ProtocolOutput] = Field(description="the protocols that come with the package")


class ExportProtocolOutput(JsonDocument):
    name: str = Field(description="name of the protocol")
    hash: str = Field(description="its hash")
    images: int = Field(description="number of images that were written")
    folder: str = Field(description="where images, damaged images, masks and `protocol.json` are")


class ScoredFill(JsonOutput):
    name: str = Field(description="name of the fill")
    untrained: bool = Field(description="whether it is a method without training")
    runs: int = Field(description="number of folders: seeds")
    values: dict[str, IntervalOutput | None] = Field(
        description="mean of each metric with its interval over images; null: defined for no image"
    )
    over_seeds: dict[str, IntervalOutput | None] = Field(description="with its interval over seeds; empty for one")
    by_group: dict[str, dict[str, IntervalOutput | None]] = Field(description="the same for each kind of mask")
    changed_images: int = Field(description="images with known pixels that the fill changed")
    changed_px: int = Field(description="these pixels")
    largest_change: int = Field(description="their largest change, 0 to 255")


class ScoredPair(JsonOutput):
    metric: str = Field(description="the metric")
    better: str = Field(description="the fill with the better mean")
    worse: str = Field(description="the other one")
    difference: IntervalOutput | None = Field(description="better minus worse, paired by image")
    p_holm: float = Field(description="p of the sign-flip test, corrected for all pairs of the metric by Holm")
    differs: bool = Field(description="whether they differ beyond chance")


class ScoreOutput(JsonDocument):
    """Of `score`, and of `compare` with files of scores."""

    mixed: bool = Field(description="whether the fills were rated by different protocols or on different images")
    protocol: str | None = Field(description="name of the protocol; null: mixed, here and below")
    hash: str | None = Field(description="its hash")
    evaluation: dict[str, Any] | None = Field(description="what is hashed: images, masks and metrics")
    images: int = Field(description="number of images, with all kinds of masks")
    images_checksum: str | None = Field(description="checksum of the images")
    masks_checksum: str | None = Field(description="checksum of the masks")
    hole_fraction: float | None = Field(description="mean share of an image that is hole")
    fills: list[ScoredFill] = Field(description="the fills, those without training last")
    pairs: list[ScoredPair] = Field(description="every two fills, and each with the best one without training")
    notes: list[str] = Field(description="what a reader has to know, and in what mixed scores differ")


def protocols(found: Iterable[NamedProtocol]) -> ProtocolsOutput:
    return ProtocolsOutput(
        protocols=[
            ProtocolOutput(
                name=one.name,
                hash=one.hash,
                equality=one.content.equality,
                about=one.content.about,
                evaluation=one.content.evaluation(),
            )
            for one in found
        ]
    )


def scored(table: ScoreTable) -> ScoreOutput:
    scores = table.scores
    fills = [
        ScoredFill(
            name=row.name,
            untrained=row.untrained,
            runs=row.runs,
            values={metric: interval(cell) for metric, cell in row.cells.items()},
            over_seeds={metric: interval(cell) for metric, cell in row.over_seeds.items()},
            by_group={
                group: {metric: interval(cell) for metric, cell in cells.items()}
                for group, cells in row.by_group.items()
            },
            changed_images=row.changed[0],
            changed_px=row.changed[1],
            largest_change=row.changed[2],
        )
        for row in table.rows
    ]
    pairs = [
        ScoredPair(
            metric=pair.metric,
            better=pair.better,
            worse=pair.worse,
            difference=interval(pair.difference),
            p_holm=pair.test.adjusted_p,
            differs=pair.test.differs,
        )
        for pair in table.pairs
    ]
    one = None if table.mixed else scores  # mixed scores have those of the first file
    return ScoreOutput(
        mixed=table.mixed,
        protocol=one and one.protocol,
        hash=one and one.hash,
        evaluation=one and one.evaluation,
        images=len(scores.names),
        images_checksum=one and one.tested.pixels,
        masks_checksum=one and one.tested.masks,
        hole_fraction=one and sum(one.hole_fractions) / len(one.hole_fractions),
        fills=fills,
        pairs=pairs,
        notes=list(table.notes),
    )
