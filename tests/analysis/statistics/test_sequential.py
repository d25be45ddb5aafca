"""Looks, spent error, verdicts and repeated intervals of group-sequential sign-flip tests."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from scipy.stats import binom

from analysis.statistics.sequential.design import Decision, Design, Range, conditional_power, decide, repeated_interval
from analysis.statistics.sequential.pairs import correlation, looks_skewed
from analysis.statistics.sequential.sign_flips import crossing
from analysis.statistics.sequential.spending import Spending, normal_boundaries, shares, spent
from analysis.statistics.significance import sign_flip_p

LOOKS = (4, 8, 12, 16, 20, 24, 28, 32)
POSITIVE = Range(0.0)


def until_decided(design: Design, differences: np.ndarray, claim: Range = POSITIVE) -> Decision:
    for look in range(1, len(design.looks) + 1):
        decision = decide(design, differences, design.looks[:look], claim)
        if not decision.goes_on:
            break
    return decision


@pytest.mark.parametrize(
    ("spending", "printed"),
    [
        ("pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
        ("obrien-fleming", (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
    ],
)
def test_boundaries_of_five_equal_looks_are_those_of_the_textbooks(
    spending: Spending, printed: tuple[float, ...]
) -> None:
    """Two-sided 5 %, as printed by ldbounds and in Jennison and Turnbull (2000), chapter 7."""
    assert normal_boundaries(spending, (0.2, 0.4, 0.6, 0.8, 1.0), 0.025) == pytest.approx(printed, abs=2e-4)


@pytest.mark.parametrize("spending", ["root", "pocock", "obrien-fleming"])
def test_sign_flips_of_many_equal_sizes_have_the_boundaries_of_normal_data(spending: Spending) -> None:
    looks, side = (120, 240, 360, 480, 600), 0.025
    allowed = [spent(spending, share, side) for share in shares(looks)]
    normal = normal_boundaries(spending, shares(looks), side)
    for number, (look, z) in enumerate(zip(looks, normal, strict=True), start=1):
        for excess, crosses in ((0.85, 0), (1.15, 1)):
            plus = math.ceil((look + excess * z * math.sqrt(look)) / 2)
            signs = np.array([1.0] * plus + [-1.0] * (look - plus))
            assert crossing(signs, looks[:number], allowed[:number]) == crosses


@pytest.mark.parametrize("spending", ["root", "pocock", "obrien-fleming"])
@pytest.mark.parametrize("comparisons", [1, 3])
@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential", "equal"])
def test_the_error_over_all_signs_is_at_most_the_planned_one(spending: Spending, comparisons: int, draw: str) -> None:
    """Exactly: whatever the sizes of the differences are, all 2^n ways to sign them are tried."""
    looks = (4, 6, 8)
    rng = np.random.default_rng(1)
    sizes = np.ones(8) if draw == "equal" else np.abs(getattr(rng, draw)(size=8))
    design = Design(looks, comparisons, spending)
    signed = [sizes * signs for signs in itertools.product((-1.0, 1.0), repeat=8)]
    decided = [decide(design, one, looks, POSITIVE).state for one in signed]
    for state in ("holds", "does not hold"):
        assert decided.count(state) / len(signed) <= design.side + 1e-12
    if design.first_decision is not None:
        assert decided.count("holds") == decided.count("does not hold") > 0


def test_all_looks_share_a_grid() -> None:
    """Sums of nearly equal sizes come in clusters, so that another rounding at a later look moves much probability."""
    looks = (4, 8, 12)
    design, sizes = Design(looks), np.random.default_rng(17).uniform(0.95, 1.05, 12)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=12)))
    far = np.any([np.abs(signs[:, :n].sum(axis=1)) > 2 * np.sqrt(n) - 1 for n in looks], axis=0)  # nothing else decides
    decided = [decide(design, one, looks, POSITIVE).state for one in signs[far] * sizes]
    for state in ("holds", "does not hold"):
        assert 0 < decided.count(state) / len(signs) <= design.side + 1e-12


def test_one_look_is_the_sign_flip_test() -> None:
    rng = np.random.default_rng(2)
    design = Design((10,))
    for shift in np.linspace(-1.5, 1.5, 41):
        differences = rng.normal(shift, 1, 10)
        assert decide(design, differences, (10,), POSITIVE).decided == (sign_flip_p(differences) <= 0.05)


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy"])
def test_the_familys_error_in_simulated_studies(draw: str) -> None:
    """200 studies of 3 claims without an effect: no more errors than 5 % make likely (99.9 %)."""
    rng, design, studies = np.random.default_rng(3), Design((4, 8, 12), 3), 200
    errors = sum(
        any(decide(design, row, design.looks, POSITIVE).decided for row in getattr(rng, draw)(size=(3, 12)))
        for _ in range(studies)
    )
    assert errors <= binom.ppf(0.999, studies, 0.05)


def test_a_clear_effect_is_decided_early_and_a_missing_one_given_up() -> None:
    rng, design = np.random.default_rng(4), Design(LOOKS)
    clear = [until_decided(design, row) for row in rng.normal(3, 1, (10, 32))]
    assert {(one.state, one.pairs) for one in clear} == {("holds", 8)}
    none = [until_decided(design, row) for row in rng.normal(0, 1, (20, 32))]
    assert np.mean([one.pairs for one in none]) < 24
    assert {one.state for one in none} >= {"futile"}


def test_the_first_look_that_can_decide_follows_from_the_number_of_claims() -> None:
    assert [Design(LOOKS, comparisons).first_decision for comparisons in (1, 3, 4, 10)] == [8, 8, 12, 12]
    assert Design((2, 4)).first_decision is None


@pytest.mark.parametrize("claim", [POSITIVE, Range(0.5), Range(-0.7, 0.7), Range(high=0.4)])
def test_verdicts_are_final_and_agree_with_the_interval(claim: Range) -> None:
    rng, design = np.random.default_rng(5), Design(LOOKS, 2)
    limits = [limit for limit in (claim.low, claim.high) if math.isfinite(limit)]
    states = set()
    for mean, sd in itertools.product((-1.2, 0.0, 1.2), (0.3, 1.0)):
        differences = rng.normal(mean, sd, 32)
        end = until_decided(design, differences, claim)
        counts = LOOKS[: end.look + 1]
        interval = repeated_interval(design, differences, counts, limits)
        states.add(end.state)
        if end.decided:
            later = decide(design, differences, LOOKS, claim)
            assert (later.state, later.look) == (end.state, end.look)
        assert interval is not None or end.pairs < 8
        if interval is not None:
            inside = claim.low <= interval[0] and interval[1] <= claim.high
            outside = interval[0] > claim.high or interval[1] < claim.low
            assert (end.state == "holds", end.state == "does not hold") == (inside, outside)
    assert {"holds", "does not hold"} <= states


def test_repeated_intervals_cover_and_are_wider_than_those_of_one_look() -> None:
    rng, studies, design = np.random.default_rng(6), 40, Design(LOOKS[:3])
    missed = 0
    for row in rng.standard_t(3, (studies, 12)) + 2.0:
        found = [repeated_interval(design, row, design.looks[:look]) for look in (2, 3)]
        missed += any(one is None or not one[0] <= 2.0 <= one[1] for one in found)
        alone = repeated_interval(Design((12,)), row, (12,))
        assert found[-1] is not None
        assert alone is not None
        assert found[-1][0] <= alone[0] < alone[1] <= found[-1][1]
    assert missed <= binom.ppf(0.999, studies, 0.05)


def test_more_claims_widen_the_interval() -> None:
    differences = np.random.default_rng(7).normal(1, 1, 16)
    widths = [
        np.ptp(repeated_interval(Design(LOOKS, comparisons), differences, LOOKS[:4])) for comparisons in (1, 3, 10)
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_differences_of_zero_are_futile_and_equal() -> None:
    design, zeros = Design(LOOKS), np.zeros(4)
    assert decide(design, zeros, (4,), POSITIVE).state == "futile"
    assert repeated_interval(design, zeros, (4,)) is None
    assert decide(design, [], (0,), POSITIVE).goes_on
    assert decide(design, [0.3], (1,), POSITIVE).goes_on


def test_missing_pairs_postpone_a_decision() -> None:
    design, differences = Design(LOOKS), np.full(7, 2.0)
    assert decide(design, differences, (3, 4), POSITIVE).goes_on
    assert decide(design, differences, (3, 4, 7), POSITIVE).state == "holds"


def test_conditional_power_is_the_share_of_studies_that_the_last_look_decides() -> None:
    """With the mean drawn from what 8 pairs say of it."""
    rng, design = np.random.default_rng(8), Design(LOOKS[:4])
    first = np.array([0.9, -0.7, 1.4, 0.2, -0.3, 0.8, -0.1, 0.6])
    power = conditional_power(design, first, POSITIVE)
    n, sd = len(first), first.std(ddof=1)
    decided = 0
    for _ in range(200):
        scale = sd * math.sqrt((n - 1) / rng.chisquare(n - 1))
        later = rng.normal(rng.normal(first.mean(), scale / math.sqrt(n)), scale, 8)
        values = np.concatenate([first, later])
        decided += crossing(values, design.looks, design.allowed) != 0
    assert power == pytest.approx(decided / 200, abs=0.12)


def test_a_look_on_ten_claims_is_quick() -> None:
    design, rows = Design(LOOKS, 10), np.random.default_rng(9).normal(0.2, 1, (10, 32))
    decide(design, rows[0], LOOKS[:7], POSITIVE)  # computes the normal boundaries once
    began = time.process_time()
    for row in rows:
        decide(design, row, LOOKS, POSITIVE)
    assert time.process_time() - began < 0.05


def test_correlation_and_skewness_of_pairs() -> None:
    rng = np.random.default_rng(10)
    seeds, own = rng.normal(size=400), rng.normal(size=(2, 400))
    a, b = (dict(enumerate(math.sqrt(0.7) * seeds + math.sqrt(0.3) * one)) for one in own)
    assert correlation(a, b) == pytest.approx(0.7, abs=0.08)
    assert correlation(a, dict.fromkeys(b, 1.0)) is None
    assert correlation(a, {0: 1.0}) is None
    assert looks_skewed(rng.lognormal(size=32))
    assert not looks_skewed(np.linspace(-1, 1, 32))
    assert not looks_skewed(np.full(16, 0.3))
    assert not looks_skewed([0.0, 0.0, 0.0, 5.0])
    assert np.mean([looks_skewed(row) for row in rng.normal(size=(300, 16))]) < 0.1
