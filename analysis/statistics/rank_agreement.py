"""How far the metrics agree in ranking the arms: Kendall's tau-b between every two of them."""

from __future__ import annotations

from dataclasses import dataclass

from analysis import wording
from analysis.statistics import intervals
from analysis.study import Study
from sweeps.results import columns as record_columns

LEAST_ARMS = 4
"""With three arms one swap takes tau from 1 to 0.33: it says nothing."""
_USUAL = tuple(
    f"test/{name}"
    for name in (
        *("psnr_db", "psnr_db_hole", "l1", "l2", "ssim"),
        *("dice_soft", "dice_squared", "dice_binary", "iou", "cross_entropy", "l1_seam"),
        *record_columns.EXTRA,
    )
)
"""Compared beside the report's own; the sum of squared errors ranks as L2 does."""


@dataclass(frozen=True)
class Agreement:
    """tau: for each metric a row, up to itself; None where a metric cannot tell any two arms apart.

    sentences: what was compared, or why nothing was; then where the metrics agree least.
    """

    metrics: list[str]
    tau: list[list[float | None]]
    sentences: list[str]


def compare(study: Study) -> Agreement | None:
    """The rank correlations of a study's test metrics over its arms; None where no arm has two of them.

    Only arms with the same data and masks are compared with each other: over several such groups, pairs within a group
    count. An arm's place follows from its mean over seeds, better arms first, whichever way the metric runs.
    """
    means = {name: _means(study, name) for name in study.names}
    groups = [[name for name in group if len(means[name]) > 1] for group in study.groups]
    if not any(groups):
        return None
    large = [group for group in groups if len(group) >= LEAST_ARMS]
    if not large:
        most = wording.count(max(map(len, groups)), "finished arm")
        words = (
            f"Rank correlations are left out: there are {most} with the same data and masks, and {LEAST_ARMS} needed."
        )
        return Agreement([], [], [words])
    arms = [name for group in large for name in group]
    metrics = [metric for metric in _candidates(study) if all(metric in means[name] for name in arms)]
    ranked = [[means[name] for name in group] for group in large]
    tau = [
        [
            intervals.kendall_tau_b([[(row[a], row[b]) for row in group] for group in ranked])
            for b in metrics[: place + 1]
        ]
        for place, a in enumerate(metrics)
    ]
    return Agreement(metrics, tau, _sentences(study, groups, large, metrics, tau))


def _candidates(study: Study) -> list[str]:
    asked = [metric for metric in study.metrics if metric.startswith("test/") and wording.sign(metric)]
    return list(dict.fromkeys([*asked, *_USUAL]))


def _means(study: Study, arm: str) -> dict[str, float]:
    """An arm's means over seeds, more being better."""
    intervals = {metric: study.interval(arm, metric) for metric in _candidates(study)}
    return {metric: wording.sign(metric) * found.mean for metric, found in intervals.items() if found}


def _sentences(
    study: Study, groups: list[list[str]], large: list[list[str]], metrics: list[str], tau: list[list[float | None]]
) -> list[str]:
    arms = sum(map(len, large))
    grouped = f" in {len(large)} groups with the same data and masks, within which pairs are compared"
    where = grouped if len(large) > 1 else ""
    fills = "" if all(study.arm(name).trains for group in large for name in group) else ", fills without training too"
    sentences = [
        f"Kendall's tau-b over n = {arms} arms{where}{fills}, by their means over "
        f"{wording.count(len(study.seeds), 'seed')} {study.at_words()}. 1: the same order, better arms first; "
        f"{wording.MINUS}1: the reverse."
    ]
    if left := [name for group in groups if group not in large for name in group]:
        sentences.append(
            f"Left out, as fewer than {LEAST_ARMS} arms share their data and masks: "
            f"{wording.listing(map(wording.quoted, left))}."
        )
    pairs = [
        (value, metrics[a], metrics[b])
        for a, row in enumerate(tau)
        for b, value in enumerate(row[:-1])
        if value is not None
    ]
    if pairs:
        least, a, b = min(pairs, key=lambda pair: pair[0])
        sentences.append(
            f"They agree least on {wording.label(b)} and {wording.label(a)}: {wording.fixed(least, 2, plus=True)}."
            if least < 1
            else "All of them put the arms in the same order."
        )
    return sentences
