"""The gate's rule: its bets, its futility, and the error, power and cost of simulated sessions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.statistics.sequential import candidates as rule
from tests.benchmarks.streams.bench_gate import RULES, SHAPES, summary


def evidence(*differences: float, typical: float = math.nan) -> rule.Evidence:
    found = rule.Evidence(typical)
    for one in differences:
        found.add(one)
    return found


def test_mean_and_spread_are_those_of_the_differences() -> None:
    values = [0.3, -0.1, 0.6, 0.2]
    found = evidence(*values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.spread == pytest.approx(np.std(values, ddof=1))


def test_a_bet_is_fair_and_limited() -> None:
    """What a difference of either sign multiplies the stake by is 1 in the mean; an outlier does not lose all."""
    for size in (0.0, 0.3, 1.0, 1e6):
        up, down = (math.exp(rule.log_bet(sign * size, 1.0)) for sign in (1, -1))
        assert up + down == pytest.approx(2)
        assert down > 0.03
    assert math.exp(rule.log_bet(0.0, 0.0)) == 1
    assert math.exp(rule.log_bet(5.0, 0.0)) > 1.9


def test_pairs_of_the_screening_bet_nothing() -> None:
    found = evidence(*[1.0, 0.9] * (rule.SCREENING // 2), typical=10.0)
    assert (found.log_e, bool(found.screened)) == (0.0, True)
    found.add(1.0)
    assert found.log_e > 0


def test_a_clear_candidate_passes_the_screening_early() -> None:
    assert not evidence(2.0, typical=1.0).screened
    assert evidence(2.0, 2.0, 2.0, typical=1.0).screened


def test_nothing_is_judged_before_a_spread_is_known() -> None:
    assert not evidence(-1.0, -1.1).futile
    assert evidence(-1.0, -1.1, -0.9).futile
    assert evidence(-1.0, typical=1.0).futile


@pytest.mark.parametrize("typical", [math.nan, 1.0])
def test_equal_programs_are_discarded(typical: float) -> None:
    assert evidence(0.0, 0.0, 0.0, typical=typical).futile


def test_the_typical_spread_survives_a_broken_candidate() -> None:
    rng = np.random.default_rng(0)
    drawn = [(4, float(np.var(rng.normal(size=4)) * 4)) for _ in range(50)]
    assert rule.typical_spread([*drawn, (4, 1e12)]) == pytest.approx(1.0, abs=0.2)
    assert math.isnan(rule.typical_spread([(1, 0.0)]))


def test_a_candidate_without_any_effect_says_nothing_about_the_spread() -> None:
    """A typical spread of 0 would discard every later candidate before its first pair."""
    assert math.isnan(rule.typical_spread([(3, 0.0)]))
    assert rule.typical_spread([(3, 0.0), (5, 4.0), (3, 0.0)]) == rule.typical_spread([(5, 4.0)])
    for typical in (0.0, 1.0, math.nan):
        assert not rule.Evidence(typical).futile, "nothing is judged before the first pair"
    assert not evidence(0.3, 0.2, typical=0.0).futile, "0 counts as unknown"
    assert evidence(0.3, 0.2, 0.4, typical=0.0).spread == pytest.approx(0.1)


def test_no_candidate_is_kept_whose_mean_is_not_better() -> None:
    found = evidence(*[1.0, 1.1, 0.9] * 6)
    assert found.reaches(0.05)
    found.add(-1000.0)
    assert found.log_e > -math.log(0.05), "the bets limit the outlier"
    assert not found.reaches(0.05)


def test_error_is_spent_as_bets_are_lost() -> None:
    assert rule.spent(0.01, 0.0, False) == 0
    assert rule.spent(0.01, math.log(50), False) == 0, "a bet that was won and abandoned gives back its stake alone"
    assert rule.spent(0.01, math.log(0.25), False) == pytest.approx(0.0075)
    assert rule.spent(0.01, math.log(200), True) == 0.01


def test_a_pair_without_a_value_is_a_lost_bet() -> None:
    found = evidence(1.0, 1.1)
    found.add_lost_bet()
    assert found.log_e == 0, "the screening bets nothing"
    found = evidence(2.0, 2.1, 2.2)
    found.add_lost_bet()
    assert rule.spent(0.01, found.log_e, False) > 0.009


def test_the_last_candidate_may_use_what_is_left() -> None:
    assert rule.level(0.02, 1) == 0.02
    left, levels = rule.SESSION_ALPHA, []
    for candidates in range(125, 0, -1):
        levels.append(rule.level(left, candidates))
        left -= levels[-1]
    assert all(level > 0 for level in levels)
    assert sum(levels) <= rule.SESSION_ALPHA + 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_useless_candidates_are_kept_in_at_most_5_percent_of_the_sessions(shape: str) -> None:
    """And one standard deviation is mostly kept, at few runs of a useless candidate: 160 sessions of 125 candidates."""
    found = summary("gate", 160, 125, 1.0, SHAPES[shape])
    assert found.error <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 160)
    assert found.power >= 0.75 - 2 * math.sqrt(0.75 * 0.25 / 160)
    assert found.candidate_runs < 4.2


def test_larger_numbers_keep_useless_candidates_in_nearly_all_sessions() -> None:
    found = summary("keep if larger", 200, 125, 1.0, SHAPES["normal"])
    assert found.error > 0.97
    assert found.useless_kept == pytest.approx(sum(1 / n for n in range(2, 127)), abs=0.5)
    assert "gate" in RULES
