"""A table of rated fills: means with intervals, differences paired by image, and what a reader has to know.

The values of one photograph with several masks are not independent, so intervals and tests take one value for each
photograph: the mean over its masks and over the runs (seeds) of the fill. Intervals over seeds are given as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis import wording
from analysis.scores import image_level
from analysis.statistics.intervals import Interval, mean_interval
from analysis.statistics.significance import Comparison, compare, seeds_needed
from sweeps.protocols.scores import FillScores, RunScores, Scores


@dataclass(frozen=True)
class ScoreRow:
    """The values of fills of one name."""

    name: str
    untrained: bool
    runs: int
    cells: Mapping[str, Interval | None]
    """Metric -> mean, with its interval over images; None if it is defined for none."""
    over_seeds: Mapping[str, Interval | None]
    """Metric -> mean, with its interval over the runs; empty for one run."""
    by_group: Mapping[str, Mapping[str, Interval | None]]
    """Kind of mask -> metric -> mean; empty where a protocol has one kind."""
    changed: tuple[int, int, int]
    """Images with known pixels that the fill changed, these pixels, and their largest change; over all runs."""


@dataclass(frozen=True)
class ScorePair:
    """Two fills by one metric."""

    metric: str
    better: str
    worse: str
    """By the mean."""
    difference: Interval
    """Better minus worse, paired by photograph; negative where lower is better."""
    test: Comparison
    """Corrected for all pairs of the metric by Holm."""


@dataclass(frozen=True)
class ScoreTable:
    """All fills of one or several files of scores."""

    scores: Scores
    rows: Sequence[ScoreRow]
    pairs: Sequence[ScorePair]
    notes: Sequence[str]
    mixed: bool
    """Whether protocols or images differ; `scores` then has the protocol, masks and checksums of the first file."""


def column(metric: str) -> str:
    """The column of results that a metric of a protocol is like, which has a unit and a direction."""
    return {"pixel_auc": "test/auc", "balanced_accuracy": "test/accuracy"}.get(metric, f"test/{metric}")


def build(scores: Scores, differs: Sequence[str] = ()) -> ScoreTable:
    """differs: notes on scores that were rated by different protocols, which come first."""
    rows = [_row(scores, fill) for fill in scores.fills]
    by_metric = _image_pairs if scores.image_level else _pairs
    pairs = [pair for metric in scores.metrics for pair in by_metric(scores, metric)]
    return ScoreTable(scores, rows, pairs, [*differs, *_notes(scores, rows, pairs, bool(differs))], bool(differs))


# --- rows -------------------------------------------------------------------------------------------------------------


def _row(scores: Scores, fill: FillScores) -> ScoreRow:
    groups = [group for group in dict.fromkeys(scores.groups) if group]
    by_group = {
        group: {metric: _mean(scores, fill, metric, group) for metric in scores.metrics} for group in sorted(groups)
    }
    changed = (
        sum(px > 0 for run in fill.runs for px in run.changed_px),
        sum(sum(run.changed_px) for run in fill.runs),
        max(run.largest_change for run in fill.runs),
    )
    cells = {metric: _mean(scores, fill, metric) for metric in scores.metrics}
    over_seeds = {metric: _over_seeds(scores, fill, metric) for metric in scores.metrics if len(fill.runs) > 1}
    return ScoreRow(fill.name, fill.untrained, len(fill.runs), cells, over_seeds, by_group, changed)


def _mean(scores: Scores, fill: FillScores, metric: str, group: str | None = None) -> Interval | None:
    if scores.image_level:
        return image_level.mean(image_level.of_fill(scores, fill, metric)).interval()
    return mean_interval(_over_runs(scores, fill, metric, group).values())


def _over_seeds(scores: Scores, fill: FillScores, metric: str) -> Interval | None:
    if scores.image_level:
        return mean_interval(run.value for run in image_level.of_fill(scores, fill, metric))
    by_run = [_by_photograph(scores, run, metric).values() for run in fill.runs]
    return mean_interval(sum(values) / len(values) for values in by_run if values)


def _by_photograph(scores: Scores, run: RunScores, metric: str, group: str | None = None) -> dict[str, float]:
    """Photograph -> mean over its masks, of one group or of all; those without a value are left out."""
    found: dict[str, list[float]] = {}
    for name, own, value in zip(scores.names, scores.groups, run.values[metric], strict=True):
        if value is not None and group in (None, own):
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


# --- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(scores: Scores, metric: str) -> list[ScorePair]:
    """Every two trained fills, and every trained fill with the best one without training."""
    sign = wording.sign(column(metric))
    values = {fill.name: _over_runs(scores, fill, metric) for fill in scores.fills}
    means = {name: sum(own.values()) / len(own) for name, own in values.items() if own}
    trained = [fill.name for fill in scores.fills if not fill.untrained and fill.name in means]
    untrained = [fill.name for fill in scores.fills if fill.untrained and fill.name in means]
    best = [max(untrained, key=lambda name: sign * means[name])] if untrained else []
    couples = [*itertools.combinations(trained, 2), *itertools.product(trained, best)]
    ordered = [sorted(couple, key=lambda name: -sign * means[name]) for couple in couples]
    differences = [
        [values[better][name] - values[worse][name] for name in values[better] if name in values[worse]]
        for better, worse in ordered
    ]
    known = [(better, worse, own) for (better, worse), own in zip(ordered, differences, strict=True) if own]
    found = []
    for (better, worse, own), test in zip(known, compare([own for *_, own in known]), strict=True):
        difference = mean_interval(own)
        assert difference is not None
        found.append(ScorePair(metric, better, worse, difference, test))
    return found


def _image_pairs(scores: Scores, metric: str) -> list[ScorePair]:
    """As `_pairs`, for detections of whole images."""
    return [ScorePair(metric, *parts) for parts in image_level.compare(scores, metric)]


def _over_runs(scores: Scores, fill: FillScores, metric: str, group: str | None = None) -> dict[str, float]:
    """Photograph -> mean over its masks and the runs."""
    runs = [_by_photograph(scores, run, metric, group) for run in fill.runs]
    return {name: sum(run[name] for run in runs) / len(runs) for name in runs[0] if all(name in run for run in runs)}


# --- notes ------------------------------------------------------------------------------------------------------------


def _notes(scores: Scores, rows: Sequence[ScoreRow], pairs: Sequence[ScorePair], mixed: bool) -> list[str]:
    photographs, hole = len(set(scores.names)), sum(scores.hole_fractions) / len(scores.hole_fractions)
    images = wording.count(photographs, "image")
    if len(scores.names) > photographs:
        images += f" with {wording.count(len(scores.names), 'mask')}"
    named = f"Protocol {scores.protocol}, hash {scores.hash}. "
    area, kind = ("manipulated pixels", "detections") if scores.detections else ("holes", "fills")
    covered = f"{area} cover {hole:.1%} on average"
    if scores.image_level:
        covered = f"{sum(scores.hole_fractions):,.0f} of them are manipulated"
    found = [f"{images}, rated differently." if mixed else f"{named}{images}; {covered}."]
    if scores.published_images and scores.published_images != len(scores.names) and not mixed:
        found.append(
            f"The published tables are of {scores.published_images:,} images, and do not compare with this one."
        )
    found.append(f"95 % intervals are over images: they are of these {kind}, not of another training of a method.")
    for row in rows:
        if row.over_seeds:
            means = (
                f"{wording.label(metric)} {wording.plus_minus(one)}" for metric, one in row.over_seeds.items() if one
            )
            found.append(f"{row.name}: mean of {row.runs} seeds; 95 % intervals over seeds: {', '.join(means)}.")
    untrained = [row.name for row in rows if row.untrained]
    found.append(f"Without training: {', '.join(untrained) or 'none'}.")
    for row in rows:
        count, px, largest = row.changed
        if count:
            of = f"{count:,} of {wording.count(len(scores.names) * row.runs, 'fill')}"
            many = f"{wording.count(px, 'known pixel')} in {of}"
            found.append(f"{row.name} changed {many}, by up to {largest} of 255; the originals were rated there.")
    family = max((pair.test.family for pair in pairs), default=0)
    if pairs and scores.image_level:
        found.append("Differences are tested by the normal approximation, paired by photograph.")
    if pairs and scores.image_level and image_level.few(scores):
        found.append(f"No difference is called significant with fewer than {image_level.FEW} photographs of a kind.")
    elif pairs and pairs[0].test.underpowered:
        what = "The difference cannot" if family == 1 else f"None of the {family:,} differences can"
        found.append(
            f"{what} reach significance with {wording.count(photographs, 'image')}; {seeds_needed(family)} are needed."
        )
    return found
