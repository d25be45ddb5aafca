"""Sign-flip test, corrections for multiple comparisons, effect sizes: against libraries, by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from analysis.statistics import significance


@pytest.mark.parametrize("n", [2, 4, 9, 13])
def test_sign_flip_is_that_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1, n)
    expected = scipy.stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert significance.sign_flip_p(values) == pytest.approx(expected.pvalue, abs=1e-12)


def test_sign_flip_by_hand() -> None:
    """Of the 8 assignments of (3, 2, 1) those with |sum| of 4 or more: 3+2+1, 3+2-1 and their negatives."""
    assert significance.sign_flip_p([3.0, 2.0, -1.0]) == 0.5
    assert significance.sign_flip_p([1.0] * 8) == 2**-7
    assert significance.sign_flip_p([0.0, 0.0]) == 1.0


def test_many_pairs_are_drawn() -> None:
    values = np.random.default_rng(0).normal(0.45, 1, 24)
    expected = scipy.stats.wilcoxon(values).pvalue  # another test of the same hypothesis
    assert significance.sign_flip_p(values) == pytest.approx(expected, rel=0.5)
    assert significance.sign_flip_p([1.0] * 24) == pytest.approx(1 / 65536)


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("benjamini-hochberg", "fdr_bh")])
def test_corrections_are_those_of_statsmodels(ours: significance.Correction, theirs: str) -> None:
    from statsmodels.stats.multitest import multipletests

    for seed in range(20):
        ps = np.random.default_rng(seed).uniform(size=seed + 1) ** 2
        expected = multipletests(ps, method=theirs)[1]
        assert significance.adjust(ps.tolist(), ours) == pytest.approx(expected, rel=1e-15, abs=0)


def test_corrections_by_hand() -> None:
    ps = [0.01, 0.04, 0.03, 0.005]
    assert significance.adjust(ps, "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.adjust(ps, "benjamini-hochberg") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert significance.adjust([0.9, 0.8]) == [1.0, 1.0]
    assert significance.adjust([0.3]) == [0.3]
    assert significance.adjust([]) == []


def test_false_positives_of_a_family_stay_below_five_percent() -> None:
    """11 arms that do not differ from their baseline, 9 pairs each: a star in at most 5 % of 2,000 tables."""
    rng = np.random.default_rng(5)
    stars = 0
    for _ in range(2000):
        baseline = rng.normal(size=9)
        stars += any(one.differs for one in significance.compare(rng.normal(size=(11, 9)) - baseline))
    assert stars / 2000 <= 0.05


def test_two_seeds_get_no_star_over_seeds_and_photographs() -> None:
    differences = [[0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1]]
    two, three, of_probes = significance.compare(differences, crossed=[0.001] * 3, exact=[False, False, True])
    assert two.underpowered
    assert not two.differs
    assert two.needed == 3
    assert three.differs
    assert of_probes.differs, "two evaluations, whatever the number of seeds"


def test_too_few_pairs_are_underpowered() -> None:
    """11 comparisons need 9 pairs: 2^-7 * 11 is above 0.05, 2^-8 * 11 below it (DESIGN.md)."""
    assert [significance.seeds_needed(family) for family in (1, 2, 11)] == [6, 7, 9]
    eight, nine = (significance.compare([[1.0 + i / 10 for i in range(n)]] * 11) for n in (8, 9))
    assert all(one.underpowered and not one.differs for one in eight)
    assert all(one.differs for one in nine)


def test_effect_and_probability_of_improvement() -> None:
    [found] = significance.compare([[1.0, 2.0, 3.0, 0.0, -1.0]])
    assert found.effect == pytest.approx(1 / math.sqrt(2.5) * (1 - 3 / 15))
    assert found.improvement == pytest.approx(0.7)


@pytest.mark.parametrize(
    "differences",
    [[1.0], [1.0, 3.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.3 - 0.2, 0.1, 0.4 - 0.3]],
    ids=["one pair", "two pairs", "equal", "zero", "equal, mean rounded", "equal but for rounding"],
)
def test_an_undefined_effect_is_missing(differences: list[float]) -> None:
    """The correction for two pairs is 0; a deviation that is mere rounding gave effects of 1e15."""
    [found] = significance.compare([differences])
    assert found.effect is None


def test_the_effect_is_defined_from_three_pairs_on() -> None:
    [found] = significance.compare([[1.0, 2.0, 3.0]])
    assert found.effect == pytest.approx(2 * (1 - 3 / 7))
