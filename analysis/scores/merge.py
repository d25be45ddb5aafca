"""Puts the fills of several files of scores into one table, if they were rated alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sweeps.errors import SweepError
from sweeps.protocols.identity import differences
from sweeps.protocols.scores import FillScores, RunScores, Scores


def merged(files: Mapping[str, Scores], mix: bool) -> tuple[Scores, list[str]]:
    """The fills of all files, and notes on how the files differ.

    Fills without training are taken from the first file. Names that several files have get the file in brackets.
    SweepError, which names the fields, if the files differ in protocol or images, unless `mix`. Mixed scores have the
    images and metrics that all files have.
    """
    (first_name, first), *others = files.items()
    notes = []
    for name, other in others:
        different = differences(first.identity(), other.identity())
        if different and not mix:
            raise SweepError(
                f"{first_name} and {name}",
                f"they were rated by {_named(first)} and {_named(other)}, which differ in {'; '.join(different)}",
                "scores of one protocol on the same images",
                "rate both under one protocol; --mix prints them all the same, with the difference in the note",
            )
        notes += [f"NOT COMPARABLE: {first_name} and {name} differ in {'; '.join(different)}."] if different else []
    return (_mixed(files) if notes else first.model_copy(update={"fills": _fills(files)})), notes


def _named(scores: Scores) -> str:
    return f"{scores.protocol} {scores.hash}"


def _fills(files: Mapping[str, Scores]) -> list[FillScores]:
    counts = Counter(fill.name for scores in files.values() for fill in scores.fills if not fill.untrained)
    found: list[FillScores] = []
    for file, scores in files.items():
        for fill in scores.fills:
            name = fill.name if counts[fill.name] < 2 else f"{fill.name} ({file})"
            found += [] if fill.untrained else [fill.model_copy(update={"name": name})]
    return [*found, *(fill for fill in next(iter(files.values())).fills if fill.untrained)]


def _mixed(files: Mapping[str, Scores]) -> Scores:
    """Scores over the photographs and metrics that all files have; each photograph has the mean over its masks."""
    first = next(iter(files.values()))
    names = [name for name in dict.fromkeys(first.names) if all(name in set(one.names) for one in files.values())]
    metrics = [metric for metric in first.metrics if all(metric in one.metrics for one in files.values())]
    if not names or not metrics:
        what = "photograph" if not names else "metric"
        given, allowed = " and ".join(files), f"files that share at least one {what}"
        raise SweepError(given, f"they share no {what}, so that nothing can be compared", allowed, "leave --mix out")
    reduced = {file: _reduced(one, names, metrics) for file, one in files.items()}
    return next(iter(reduced.values())).model_copy(update={"fills": _fills(reduced)})


def _reduced(scores: Scores, names: list[str], metrics: list[str]) -> Scores:
    rows = {name: [row for row, own in enumerate(scores.names) if own == name] for name in names}

    def mean(column: list[float | None], name: str) -> float | None:
        known = [value for row in rows[name] if (value := column[row]) is not None]
        return sum(known) / len(known) if known else None

    def run(one: RunScores) -> RunScores:
        kept = one.values if scores.image_level else metrics
        values = {metric: [mean(one.values[metric], name) for name in names] for metric in kept}
        changed = [sum(one.changed_px[row] for row in rows[name]) for name in names]
        return one.model_copy(update={"values": values, "changed_px": changed})

    fills = [fill.model_copy(update={"runs": [run(one) for one in fill.runs]}) for fill in scores.fills]
    holes = [sum(scores.hole_fractions[row] for row in rows[name]) / len(rows[name]) for name in names]
    evaluation = {**scores.evaluation, "metrics": {metric: scores.evaluation["metrics"][metric] for metric in metrics}}
    return scores.model_copy(
        update={
            "names": names,
            "groups": [""] * len(names),
            "hole_fractions": holes,
            "fills": fills,
            "evaluation": evaluation,
        }
    )
