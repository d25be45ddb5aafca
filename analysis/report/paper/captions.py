"""The sentences below the main tables: how to read them, and which results are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis import wording
from analysis.report.paper.shape import Shape
from analysis.report.sections import conditions, details, searches
from analysis.statistics.intervals import BOOTSTRAP_FROM, Interval
from analysis.statistics.significance import ALPHA, Comparison, Correction
from analysis.study import Study
from sweeps.protocols import results as protocol_results

_CORRECTIONS: dict[Correction, str] = {
    "holm": "Holm-adjusted p",
    "benjamini-hochberg": "Benjamini-Hochberg-adjusted p, which bounds the expected share of false stars,",
}


Found = Mapping[str, Mapping[str, Interval | None]]
"""The results of a table, by metric and arm."""


def on_results(study: Study, shape: Shape, exact: Sequence[str], by_seed: Sequence[str], found: Found) -> list[str]:
    """How to read the results, and which are missing.

    exact: the kinds of the arms that have one evaluation for all seeds. by_seed: arms without training that have one
    for each seed.
    """
    best = "best mean" + (" among arms with the same data and masks" if len(study.groups) > 1 else "")
    caption = [
        f"{study.statistic.capitalize()} over n seeds ± {_spread(study, shape, found)}, {study.at_epoch()}.",
        f"● {best}; ○ not distinguishable from it: the interval of the paired difference (95 %, simultaneous for all "
        "pairs of arms) includes zero, or there are too few pairs for an interval.",
    ]
    caption += on_photographs(study, shape, found)
    if exact and any(one.exact and not one.photographs for row in found.values() for one in row.values() if one):
        folder = ", or is one folder of another program's output" if any("program" in kind for kind in exact) else ""
        caption.append(
            f"Exact, without ±: the arm has no parameters{folder}; one evaluation serves all seeds, so there is no "
            "interval."
        )
    for outputs in (True, False):
        names = [name for name in by_seed if study.arm(name).outputs == outputs]
        if names:
            what = "the output of another program" if outputs else "evaluated on the sets"
            caption.append(f"Not trained here: {wording.listing(map(wording.quoted, names))}, {what} for each seed.")
    if len(study.seeds) == 1:
        caption.append("One seed: there are no intervals, and arms cannot be distinguished.")
    caption += conditions.few_test_images(study)
    caption += conditions.unexpected_holes(study)
    caption += searches.caption(study)
    caption += details.versions_of_code(study)
    caption += study.all_notes
    states = study.states()
    missing = [
        f"{states[state]} {state}"
        for state in ("running", "failed", "interrupted", "damaged", "queued")
        if states[state]
    ]
    if missing:
        caption.append(f"Not in this table: {wording.listing(missing)} of {sum(states.values())} cells.")
    return caption


def on_photographs(study: Study, shape: Shape, found: Found) -> list[str]:
    """What the intervals of detectors cover: seeds and test photographs, or one of them."""
    if study.plan["task"] != "detect" or shape.sd:
        return []
    known = [(metric, name, one) for metric, row in found.items() for name, one in row.items() if one and one.bounds]
    covered = sorted({one.photographs for _, _, one in known if one.photographs})
    if not covered:
        alone = [_SEEDS_ALONE, *_older(study)] if study.statistic == "mean" else ["Intervals cover the seeds alone."]
        return alone if known else []
    count = f"{covered[0]:,}" + (f" to {covered[-1]:,}" if len(covered) > 1 else "")
    sentences = [
        f"Intervals cover the seeds and the test photographs ({count}): other trainings, tested on other photographs "
        "of the same kind (Obuchowski and Rockette 1995, Hillis 2007)."
    ]
    if any(one.exact and one.photographs for _, _, one in known):
        sentences.append("An arm without parameters has one evaluation; its interval covers the photographs alone.")
    lacking: dict[tuple[str, ...], list[str]] = {}
    for metric in found:
        of_seeds = [one for one in known if one[0] == metric and not one[2].exact]
        arms = tuple(name for _, name, one in of_seeds if not one.photographs)
        if arms:
            lacking.setdefault(() if len(arms) == len(of_seeds) else arms, []).append(metric)
    for arms, metrics in lacking.items():
        of = f" of {wording.listing(map(wording.quoted, arms))}" if arms else ""
        sentences.append(f"Intervals of {wording.listing(map(wording.label, metrics))}{of} cover the seeds alone.")
    return sentences + (_older(study) if lacking else [])


def _older(study: Study) -> list[str]:
    """How trials get scores of single images that stored none."""
    without = len(study.image_scores.without)
    if not without:
        return []
    trials = "1 trial has" if without == 1 else f"{without} trials have"
    return [
        f"{trials} stored no scores of single images, as those of older versions: `sweeps run FILE --retrain-stale` "
        "trains such trials again and stores them."
    ]


_SEEDS_ALONE = (
    "Intervals cover the seeds alone, since no scores of single images are known for these values: other test "
    "photographs may give others."
)


def _spread(study: Study, shape: Shape, found: Found) -> str:
    if shape.sd:
        return "standard deviation over seeds"
    covered = any(one.photographs for row in found.values() for one in row.values() if one)
    method = "Student's t" if covered or len(study.seeds) < BOOTSTRAP_FROM else "BCa bootstrap"
    method = method if study.statistic == "mean" else "percentile bootstrap"
    return f"half-width of its 95 % interval ({method})"


def on_differences(study: Study, tests: Sequence[Comparison], photographs: bool = False) -> list[str]:
    """What the differences are, what a star means, and how many seeds a significant difference needs.

    photographs: whether intervals cover the test photographs as well.
    """
    baselines = {arm.baseline for arm in study.arms}
    reference = wording.quoted(study.baseline) if len(baselines) == 1 else "the baseline of the same level"
    first = f"Differences from {reference} are paired by seed: mean over n pairs with its 95 % interval."
    covered = ["Intervals of differences cover the seeds and the test photographs."] if photographs else []
    return [first, *covered, *on_tests(study, tests, "differs from the baseline"), *on_protocol(study)]


def on_protocol(study: Study) -> list[str]:
    """What rated the columns of the study's protocol, for tables beside that of the results, which says more."""
    return protocol_results.notes(study.protocol, ())


def on_tests(study: Study, tests: Sequence[Comparison], star: str) -> list[str]:
    """What a star means, and how many seeds a significant difference needs. star: what is significant of its figure."""
    if not tests:
        return []
    family = max(test.family for test in tests)
    kinds = {test.photographs for test in tests}
    method = "t test over seeds and test photographs" if kinds == {True} else "sign-flip test"
    method += ", or a t test where the interval covers test photographs" if len(kinds) > 1 else ""
    caption = [
        f"* {star} ({method}, {_CORRECTIONS[study.correction]} at most {ALPHA:g} for the "
        f"{wording.count(family, 'comparison')} of a metric)."
    ]
    if weak := [test for test in tests if test.underpowered]:
        which = "Underpowered" if all(test.underpowered for test in tests) else "† Underpowered"
        needed = wording.count(max(test.needed for test in weak), "seed")
        caption.append(f"{which}: with so few pairs no difference can be significant; that needs {needed}.")
    return caption
