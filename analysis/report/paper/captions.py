"""The sentences below the main tables: how to read them, and which results are missing."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import wording
from analysis.report.paper.shape import Shape
from analysis.report.sections import conditions, details, searches
from analysis.statistics.intervals import BOOTSTRAP_FROM
from analysis.statistics.significance import ALPHA, Comparison, Correction, seeds_needed
from analysis.study import Study
from sweeps.protocols import results as protocol_results

_CORRECTIONS: dict[Correction, str] = {
    "holm": "Holm-adjusted p",
    "benjamini-hochberg": "Benjamini-Hochberg-adjusted p, which bounds the expected share of false stars,",
}


def on_results(study: Study, shape: Shape, exact: Sequence[str], by_seed: Sequence[str]) -> list[str]:
    """How to read the results, and which are missing.

    exact: the kinds of the arms that have one evaluation for all seeds. by_seed: arms that another program has made
    for each seed.
    """
    best = "best mean" + (" among arms with the same data and masks" if len(study.groups) > 1 else "")
    caption = [
        f"{study.statistic.capitalize()} over n seeds ± {_spread(study, shape)}, {study.at_epoch()}.",
        f"● {best}; ○ not distinguishable from it: the interval of the paired difference (95 %, simultaneous for all "
        "pairs of arms) includes zero, or there are too few pairs for an interval.",
    ]
    if exact:
        folder = ", or is one folder of another program's output" if any("program" in kind for kind in exact) else ""
        caption.append(
            f"Exact, without ±: the arm has no parameters{folder}; one evaluation serves all seeds, so there is no "
            "interval."
        )
    if by_seed:
        seeds = wording.listing(map(wording.quoted, by_seed))
        caption.append(f"Not trained here: {seeds}, the output of another program for each seed.")
    if len(study.seeds) == 1:
        caption.append("One seed: there are no intervals, and arms cannot be distinguished.")
    caption += conditions.few_test_images(study)
    caption += conditions.unexpected_holes(study)
    caption += searches.caption(study)
    caption += details.versions_of_code(study)
    caption += study.notes
    states = study.states()
    missing = [
        f"{states[state]} {state}"
        for state in ("running", "failed", "interrupted", "damaged", "queued")
        if states[state]
    ]
    if missing:
        caption.append(f"Not in this table: {wording.listing(missing)} of {sum(states.values())} cells.")
    return caption


def _spread(study: Study, shape: Shape) -> str:
    if shape.sd:
        return "standard deviation over seeds"
    method = "Student's t" if len(study.seeds) < BOOTSTRAP_FROM else "BCa bootstrap"
    method = method if study.statistic == "mean" else "percentile bootstrap"
    return f"half-width of its 95 % interval ({method})"


def on_differences(study: Study, tests: Sequence[Comparison]) -> list[str]:
    """What the differences are, what a star means, and how many seeds a significant difference needs."""
    baselines = {arm.baseline for arm in study.arms}
    reference = wording.quoted(study.baseline) if len(baselines) == 1 else "the baseline of the same level"
    first = f"Differences from {reference} are paired by seed: mean over n pairs with its 95 % interval."
    return [first, *on_tests(study, tests, "differs from the baseline"), *on_protocol(study)]


def on_protocol(study: Study) -> list[str]:
    """What rated the columns of the study's protocol, for tables beside that of the results, which says more."""
    return protocol_results.notes(study.protocol, ())


def on_tests(study: Study, tests: Sequence[Comparison], star: str) -> list[str]:
    """What a star means, and how many seeds a significant difference needs. star: what is significant of its figure."""
    if not tests:
        return []
    family = max(test.family for test in tests)
    caption = [
        f"* {star} (sign-flip test, {_CORRECTIONS[study.correction]} at most {ALPHA:g} for the "
        f"{wording.count(family, 'comparison')} of a metric)."
    ]
    if any(test.underpowered for test in tests):
        which = "Underpowered" if all(test.underpowered for test in tests) else "† Underpowered"
        needed = wording.count(seeds_needed(family), "seed")
        caption.append(f"{which}: with so few pairs no difference can be significant; that needs {needed}.")
    return caption
