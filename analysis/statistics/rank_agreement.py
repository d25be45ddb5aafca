"""Agreement of metrics in ranking the arms: Kendall's tau-b of every pair of metrics."""

from __future__ import annotations

from dataclasses import dataclass

from analysis import wording
from analysis.statistics import intervals
from analysis.study import Study
from sweeps.results import columns as record_columns

LEAST_ARMS = 4
"""With three arms, a single swap takes tau from 1 to 0.33, so tau is not informative."""
_USUAL = tuple(
    f"test/{name}"
    for name in (
        *("psnr_db", "psnr_db_hole", "l1", "l2", "ssim"),
        *("dice_soft", "dice_squared", "dice_binary", "iou", "cross_entropy", "l1_seam"),
        *record_columns.EXTRA,
    )
)
"""Metrics compared in addition to the report's; the sum of squared errors is left out, as it ranks like L2."""


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of metrics over arms."""

    metrics: list[str]
    tau: list[list[float | None]]
    """Lower triangle including the diagonal, one row per metric; None where a metric ties all arms."""
    sentences: list[str]
    """What was compared, or why nothing was; then where the metrics agree least."""


def compare(study: Study) -> Agreement | None:
    """Rank correlations of a study's test metrics over its arms; None if no arm has two of them.

    Arms are ranked by their means over seeds, better arms first. Only arms with the same data and masks are compared;
    with several such groups, only pairs within a group count.
    """
    means = {name: _means(study, name) for name in study.names}
    groups = [[name for name in group if len(means[name]) > 1] for group in study.groups]
    if not any(groups):
        return None
    large = [group for group in groups if len(group) >= LEAST_ARMS]
    if not large:
        most = max(map(len, groups))
        needed = f"they need {LEAST_ARMS} finished arms with the same data and masks"
        return Agreement([], [], [f"No rank correlations: {needed}; there are {most}."])
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
    reported = [metric for metric in study.metrics if metric.startswith("test/") and wording.sign(metric)]
    return list(dict.fromkeys([*reported, *_USUAL]))


def _means(study: Study, arm: str) -> dict[str, float]:
    """An arm's means over seeds, negated where lower is better."""
    by_metric = {metric: study.interval(arm, metric) for metric in _candidates(study)}
    return {metric: wording.sign(metric) * interval.mean for metric, interval in by_metric.items() if interval}


def _sentences(
    study: Study, groups: list[list[str]], large: list[list[str]], metrics: list[str], tau: list[list[float | None]]
) -> list[str]:
    arms = sum(map(len, large))
    grouped = f" in {len(large)} groups with the same data and masks; only arms of one group are compared"
    where = grouped if len(large) > 1 else ""
    trained_only = all(study.arm(name).trains for group in large for name in group)
    fills = "" if trained_only else f" (including {study.untrained})"
    sentences = [
        f"Kendall's tau-b between the rankings of n = {arms} arms{fills}{where}. Arms are ranked by their means over "
        f"{wording.count(len(study.seeds), 'seed')} {study.at_epoch()}. 1: the same order; "
        f"{wording.MINUS}1: the reverse order."
    ]
    if left := [name for group in groups if group not in large for name in group]:
        sentences.append(
            f"Left out, because fewer than {LEAST_ARMS} arms share their data and masks: "
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
        lowest = f"{wording.label(b)} and {wording.label(a)}: {wording.fixed(least, 2, plus=True)}"
        sentences.append(
            f"The lowest tau is between {lowest}." if least < 1 else "All metrics rank the arms in the same order."
        )
    return sentences
