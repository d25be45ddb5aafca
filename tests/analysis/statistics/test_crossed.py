"""Intervals over seeds and photographs: coverage by simulation, and the special cases that are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from analysis.detection.estimates import estimate
from analysis.detection.image_scores import SetScores
from analysis.statistics import crossed, intervals
from analysis.statistics.crossed import SeedEstimate

NAMES = np.array([f"photograph {i:04}" for i in range(1000)])


def scores(logit_n: np.ndarray[Any, Any], label_n: np.ndarray[Any, Any]) -> SetScores:
    """Images of photographs that each give a real image, then a fake."""
    n = len(logit_n)
    kind_n = np.where(label_n, "inpainted", "real")
    return SetScores(
        logit_n, label_n, kind_n, NAMES[: n // 2], np.repeat(np.arange(n // 2), 2), 0.1 * label_n, np.ones(n), None
    )


def study(
    rng: np.random.Generator, seeds: int, photographs: int, of_seed: float, of_photograph: float
) -> dict[int, dict[str, SeedEstimate]]:
    """Detectors whose logits differ by 1 between fakes and reals, by seed: AUC and accuracy."""
    label_n = np.tile([False, True], photographs)
    hard_n = np.repeat(rng.normal(0, of_photograph, photographs), 2)  # shifts both images of a photograph
    shown_n = rng.normal(0, of_photograph, 2 * photographs)  # what every network sees in an image
    found = {}
    for seed in range(seeds):
        shift, separation = rng.normal(0, of_seed, 2)
        logit_n = (label_n - 0.5) * (1 + separation) + shift + hard_n + shown_n + rng.normal(0, 1, len(label_n))
        found[seed] = {
            metric: one
            for metric in ("auc", "accuracy")
            if (one := estimate(scores(logit_n, label_n), metric)) is not None
        }
    return found


def true_auc(of_seed: float, of_photograph: float) -> float:
    """Mean over seeds of the AUC on all photographs there are."""
    spread = math.sqrt(2 * (2 * of_photograph**2 + 1))
    separation = np.random.default_rng(0).normal(0, of_seed, 200_000)
    return float(ndtr((1 + separation) / spread).mean())


def true_accuracy(of_seed: float, of_photograph: float) -> float:
    spread = math.sqrt(2 * of_photograph**2 + 1)
    shift, separation = np.random.default_rng(0).normal(0, of_seed, (2, 200_000))
    half = (1 + separation) / 2
    return float((ndtr((half + shift) / spread) + ndtr((half - shift) / spread)).mean() / 2)


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_photograph"), [(3, 0.02, 1.0), (8, 0.02, 1.0), (5, 0.3, 0.7), (5, 0.5, 0.05)]
)
def test_coverage_where_seeds_or_photographs_or_both_vary(seeds: int, of_seed: float, of_photograph: float) -> None:
    """95 % intervals cover the truth about 95 times of 100; those over seeds alone do not, where photographs count."""
    rng = np.random.default_rng(seeds)
    truth = {"auc": true_auc(of_seed, of_photograph), "accuracy": true_accuracy(of_seed, of_photograph)}
    covered: dict[str, list[bool]] = {metric: [] for metric in truth}
    alone: list[bool] = []
    for _ in range(300):
        found = study(rng, seeds, 100, of_seed, of_photograph)
        for metric, true in truth.items():
            interval = crossed.crossed_interval({seed: one[metric] for seed, one in found.items()})
            assert interval is not None
            covered[metric].append(interval.contains(true))
        plain = intervals.mean_interval(one["auc"].value for one in found.values())
        assert plain is not None
        alone.append(plain.contains(truth["auc"]))
    for metric, hits in covered.items():
        assert 0.92 <= np.mean(hits) <= 0.985, f"{metric}: {np.mean(hits):.3f}"
    if of_photograph == 1.0:
        assert np.mean(alone) < 0.85


def test_coverage_of_a_difference_and_of_an_arm_without_seeds() -> None:
    """Two arms on the same photographs; a probe that is one evaluation."""
    rng = np.random.default_rng(1)
    zero, probe, n = [], [], 300
    widths = {"paired": 0.0, "apart": 0.0}
    label_n = np.tile([False, True], 100)
    for _ in range(n):
        hard_n = rng.normal(0, 1, 200)
        arms: list[dict[int, SeedEstimate]] = [{}, {}]
        for arm in arms:
            for seed in range(4):
                separation = 1 if seed == 0 else 1 + rng.normal(0, 0.1)  # seed 0 serves as a probe, too
                logit_n = label_n * separation + hard_n + rng.normal(0, 0.5, 200)
                one = estimate(scores(logit_n, label_n), "auc")
                assert one is not None
                arm[seed] = one
        gap = crossed.crossed_difference(*arms)
        ours = crossed.crossed_interval(arms[0])
        alone = crossed.crossed_interval({0: arms[0][0]}, exact=True)
        assert gap is not None
        assert ours is not None
        assert alone is not None
        zero.append(gap.contains(0.0))
        probe.append(alone.contains(float(ndtr(1 / math.sqrt(2 * 1.25)))))
        widths["paired"] += gap.half_width or 0.0
        widths["apart"] += math.sqrt(2) * (ours.half_width or 0.0)
    assert 0.92 <= np.mean(zero) <= 0.99
    assert 0.91 <= np.mean(probe) <= 0.98
    assert widths["paired"] < 0.75 * widths["apart"], "what a photograph does to both arms cancels"


def test_without_covariance_it_is_students_interval() -> None:
    values = [0.71, 0.74, 0.78]
    parts = np.eye(3) * 0.01  # no photograph moves two seeds
    found = crossed.crossed_interval({i: SeedEstimate(value, NAMES[:3], parts[i]) for i, value in enumerate(values)})
    plain = intervals.mean_interval(values)
    assert found is not None
    assert plain is not None
    assert found.bounds == pytest.approx(plain.bounds)
    assert (found.n, found.photographs) == (3, 3)


def test_one_seed_has_no_interval_and_one_evaluation_has_that_of_its_photographs() -> None:
    one = {0: SeedEstimate(0.8, NAMES[:4], np.full(4, 0.01))}
    assert crossed.crossed_interval(one) == intervals.Interval(0.8, None, None, None, 1)
    found = crossed.crossed_interval(one | {1: one[0]}, exact=True)
    assert found is not None
    assert found.exact
    assert found.half_width == pytest.approx(intervals.t_quantile(4) * 0.02)
    assert found.bounds == pytest.approx((0.8 - intervals.t_quantile(4) * 0.02, 0.8 + intervals.t_quantile(4) * 0.02))
    assert crossed.crossed_interval({}) is None


def test_photographs_are_matched_by_name_and_resamples_only_where_all_are_the_same() -> None:
    rng = np.random.default_rng(0)
    part = rng.normal(size=6)
    a = {0: SeedEstimate(0.5, NAMES[:6], part), 1: SeedEstimate(0.5, NAMES[:6], part)}
    b = {0: SeedEstimate(0.4, NAMES[1:6], part[1:]), 1: SeedEstimate(0.4, NAMES[1:6], part[1:])}
    found = crossed.crossed_difference(a, b)
    assert found is not None
    assert found.of_photographs == pytest.approx(part[0] ** 2), "five photographs cancel"
    resampled = {seed: crossed.by_resample(0.4, part, NAMES[1:6]) for seed in (0, 1)}
    assert crossed.crossed_difference(a, resampled) is None
    assert crossed.crossed_difference(resampled, {0: crossed.by_resample(0.4, part, NAMES[:5])}) is None


def test_a_star_and_the_interval_of_a_difference_agree() -> None:
    """The p value is below 5 % exactly where the 95 % interval excludes zero."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 8):
        for photographs in (5, 500):
            parts = rng.normal(0, 0.01, (n, photographs))
            values = rng.normal(0, 0.05, n)
            estimates = {i: SeedEstimate(value, NAMES[:photographs], parts[i]) for i, value in enumerate(values)}
            found = crossed.crossed_interval(estimates, exact=n == 1)
            assert found is not None
            edge = intervals.Interval(
                found.half_width or 0.0, found.sd, 0.0, 1.0, found.n, found.exact, photographs, found.of_photographs
            )
            assert intervals.satterthwaite_p(edge) == pytest.approx(0.05)
            assert (intervals.satterthwaite_p(found) < 0.05) == (not found.contains(0.0))
    sure = {seed: SeedEstimate(0.1, NAMES[:10], np.zeros(10)) for seed in range(3)}
    found = crossed.crossed_interval(sure)
    assert found is not None
    assert found.bounds is None, "nothing varies, so nothing is known of what chance would do"
    assert intervals.satterthwaite_p(found) == 1


@pytest.mark.parametrize("exact", [True, False])
def test_without_an_error_the_interval_is_not_empty(exact: bool) -> None:
    """Five photographs without an error; `rare_errors` gives the floor, and the interval ends at 1."""
    label_n = np.tile([False, True], 5)
    perfect = scores(20.0 * label_n - 10, label_n)
    for metric in ("accuracy", "auc", "recall", "eer", "balanced_accuracy"):
        one = estimate(perfect, metric)
        assert one is not None
        found = crossed.crossed_interval({0: one, 1: one}, exact=exact)
        best = 0.0 if metric == "eer" else 1.0
        assert found is not None
        assert found.bounds is not None, metric
        assert found.mean == best
        assert 0 <= found.bounds[0] < found.bounds[1] <= 1
        assert best in found.bounds
        assert 0.2 < (found.half_width or 0.0) < 0.6, metric
        near = crossed.constant(abs(best - 0.005), one)
        gap = crossed.crossed_difference({0: one, 1: one}, {0: near, 1: near}, exact=exact)
        assert gap is not None
        assert gap.contains(0.0), "a claim of an error below 0.5 % is undecided"
        assert 0.005 in [round(abs(end), 9) for end in gap.bounds or ()]
        same = crossed.crossed_difference({0: one, 1: one}, {0: one, 1: one}, exact=exact)
        assert same is not None
        assert same.bounds is not None
        assert same.contains(0.0)


def test_resamples_without_a_value_are_left_out_of_all_estimates() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.1, 400)
    here, there = shared.copy(), shared.copy()
    here[:20], there[10:30] = np.nan, np.nan
    pair = {seed: crossed.by_resample(0.5, part, NAMES[:6]) for seed, part in enumerate((here, there))}
    found = crossed.crossed_interval(pair)
    assert found is not None
    assert found.of_photographs == pytest.approx(np.var(shared[30:], ddof=1)), "both have the same value on the rest"
    there[30:60] = np.nan
    assert crossed.crossed_interval(pair) is None, "340 resamples are too few"


@pytest.mark.parametrize(
    ("metric", "true", "photographs"),
    [
        *[("fpr_authentic", 0.01, 50), ("recall", 0.99, 100), ("auc", 0.995, 50), ("auc", 0.97, 50)],
        *[("accuracy", 0.98, 20), ("recall", 0.9, 50)],
    ],
)
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_coverage_near_0_and_1(metric: str, true: float, photographs: int, seeds: int) -> None:
    """Networks that differ little, and err on few photographs."""
    rng = np.random.default_rng(photographs + seeds)
    label_n = np.tile([False, True], photographs)
    apart = float(ndtri(true)) * math.sqrt(2) if metric == "auc" else 2 * abs(float(ndtri(true)))
    covered = []
    for _ in range(200):
        shown_n = (label_n - 0.5) * apart + rng.normal(0, math.sqrt(0.9), 2 * photographs)
        found = {}
        for seed in range(seeds):
            one = estimate(scores(shown_n + rng.normal(0, math.sqrt(0.1), 2 * photographs), label_n), metric)
            assert one is not None
            found[seed] = one
        interval = crossed.crossed_interval(found, exact=seeds == 1)
        assert interval is not None
        covered.append(interval.bounds is not None and interval.contains(true))
    assert np.mean(covered) >= 0.93, f"{np.mean(covered):.3f}"


def test_more_seeds_do_not_help_against_photographs() -> None:
    of_seeds = intervals.Interval(0.02, 0.02, 0.0, 0.04, 4)
    assert intervals.more_seeds(of_seeds, 0.0) is not None
    of_both = intervals.Interval(0.02, 0.02, 0.0, 0.04, 4, photographs=50, of_photographs=0.02**2)
    assert intervals.more_seeds(of_both, 0.0) is None


@pytest.mark.parametrize("function", ["share_gained", "ratio"])
def test_a_function_of_two_metrics_varies_as_on_resampled_photographs(function: str) -> None:
    """The delta method against the bootstrap: AUC and accuracy of one detector on 300 photographs."""
    rng, photographs = np.random.default_rng(3), 300
    label_n = np.tile([False, True], photographs)
    logit_n = label_n - 0.5 + np.repeat(rng.normal(0, 0.7, photographs), 2) + rng.normal(0, 1, 2 * photographs)

    def derived(at_p: np.ndarray[Any, Any]) -> SeedEstimate:
        at_n = np.stack([2 * at_p, 2 * at_p + 1], 1).ravel()
        both = [estimate(scores(logit_n[at_n], label_n[at_n]), metric) for metric in ("auc", "accuracy")]
        found = getattr(crossed, function)(*both)
        assert isinstance(found, SeedEstimate)
        return found

    own = derived(np.arange(photographs))
    resampled = [derived(rng.integers(0, photographs, photographs)).value for _ in range(600)]
    assert math.sqrt(float(own.part @ own.part)) == pytest.approx(float(np.std(resampled)), rel=0.1)


def test_a_share_of_nothing_and_a_ratio_to_nothing_have_no_estimate() -> None:
    names = NAMES[:3]
    one = crossed.by_photograph(0.5, np.zeros(3), np.arange(3), names)
    whole = crossed.by_photograph(1.0, np.zeros(3), np.arange(3), names)
    none = crossed.by_photograph(0.0, np.zeros(3), np.arange(3), names)
    resampled = crossed.by_resample(0.5, np.zeros(400), names)
    assert crossed.share_gained(one, whole) is None
    assert crossed.ratio(one, none) is None
    assert crossed.ratio(one, resampled) is None
