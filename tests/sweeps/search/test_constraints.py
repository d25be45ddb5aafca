"""Limits of a search: stored with each outcome, followed by the sampler, kept by what becomes an arm."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import SweepError
from sweeps.search.search import Search, SearchSpec, stored_searches
from sweeps.search.space import parse
from sweeps.search.status import failure_of
from sweeps.spec.plan import Plan
from sweeps.store.local import FolderStore

SPACE: dict[str, Any] = {
    "lr": {"float": [1.0e-4, 1.0e-1], "log": True},
    "a": {"float": [0.0, 1.0]},
    "b": {"float": [0.0, 1.0]},
}
MOST = 1.0e-3
LIMITS = {"sys/time_s": {"most": MOST}}
SEARCH = "search={space: {optimiser.lr: {float: [0.001, 0.01]}}, trials: 2, metric: val/psnr_db, goal: max"


def spec(sampler: str = "tpe", trials: int = 30, **changes: Any) -> SearchSpec:
    given: dict[str, Any] = {"seed": 3, "limits": LIMITS, **changes}
    return SearchSpec(parse(SPACE), trials, ("val/psnr_db",), ("max",), sampler, **given)


def drive(search: Callable[[], Search], limited: bool = True) -> list[float]:
    """A higher rate is better, and beyond the limit above `MOST`. Returns the suggested rates."""
    while ask := search().ask():
        rate = ask.overrides["lr"]
        beyond = {"sys/time_s most": rate - MOST} if limited else None
        search().tell(ask.number, "complete", [math.log10(rate)], constraints=beyond)
    return [ask.overrides["lr"] for ask in search().asks()]


@pytest.mark.parametrize(
    ("sampler", "trials"),
    [("tpe", 30), *(pytest.param(*more, marks=pytest.mark.slow) for more in (("nsga2", 40), ("gp", 16)))],
)
def test_the_sampler_learns_what_fits_and_so_does_a_resumed_search(tmp_path: Path, sampler: str, trials: int) -> None:
    one = Search(FolderStore(tmp_path / "one"), "study", "base", spec(sampler, trials))
    rates = drive(lambda: one)
    store = FolderStore(tmp_path / "other")
    assert drive(lambda: Search(store, "study", "base", spec(sampler, trials))) == rates
    free = Search(FolderStore(tmp_path / "free"), "study", "base", spec(sampler, trials, limits={}))
    freely = drive(lambda: free, limited=False)
    fitting, without = (sum(rate <= MOST for rate in some[trials // 2 :]) for some in (rates, freely))
    assert fitting > without, "without the limit, the highest rates are tried"


def test_the_best_is_the_best_that_fits(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    search = Search(store, "study", "base", spec())
    rates = drive(lambda: search)
    fitting = sorted((rate for rate in rates if rate <= MOST), reverse=True)
    assert 0 < len(fitting) < len(rates)
    for one in (search, stored_searches(store, "study")["base"]):
        assert [ask.overrides["lr"] for ask in one.best(100)] == fitting
        assert [ask.overrides["lr"] for ask in one.front()] == fitting[:1], "what does not fit is on no front"
        assert one.spec.limits == LIMITS
    assert search.study().best_trial.params["lr"] == fitting[0], "Optuna takes the same one"


def test_a_search_in_which_nothing_fits_has_no_result(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    search = Search(store, "study", "base", spec(trials=2))
    while ask := search.ask():
        search.tell(ask.number, "complete", [1.0], constraints={"parameters most": 5.0, "sys/time_s most": -1.0})
    assert search.best(1) == []
    assert failure_of(store, "study", "base", search.asks()) == (
        "the search of 'base' has no result: none of 2 complete suggestions keeps its limits, most often not "
        "'parameters most'"
    )


def test_limits_cannot_change_and_cmaes_does_not_learn_from_them(tmp_path: Path) -> None:
    Search(FolderStore(tmp_path), "study", "base", spec()).ask()
    others: list[dict[str, Any]] = [{}, {"sys/time_s": {"most": 2.0}}]
    for limits in others:
        with pytest.raises(SweepError, match="began with"):
            Search(FolderStore(tmp_path), "study", "base", spec(limits=limits))
    with pytest.raises(SweepError, match="does not learn from constraints"):
        spec("cmaes")


@pytest.mark.parametrize(
    ("constraints", "why"),
    [
        ("{test/l2: {most: 1}}", "selecting on the test split would bias"),
        ("{val/strange: {most: 1}}", "no trial reports it"),
        ("{parameters: {}}", "it has neither `most` nor `least`"),
        ("{parameters: {most: 1, least: 2}}", "`least` (2) is above `most` (1)"),
        ("{parameters: {atmost: 1}}", "there is no such name"),
    ],
)
def test_wrong_limits_are_named(expand: Callable[..., Plan], constraints: str, why: str) -> None:
    with pytest.raises(SweepError) as caught:
        expand(changes=(f"{SEARCH}, constraints: {constraints}}}",))
    assert why in caught.value.why
    assert "constraints" in caught.value.given


def test_limits_are_stored_with_the_plan(expand: Callable[..., Plan]) -> None:
    limits = "constraints: {parameters: {most: 5.0e+6}, val/l2: {least: 0.1, most: 0.2}}"
    plan = expand(changes=(f"{SEARCH}, {limits}}}",)).to_json([])
    assert plan["search"]["constraints"] == {"parameters": {"most": 5.0e6}, "val/l2": {"least": 0.1, "most": 0.2}}
    assert "constraints" not in expand(changes=(f"{SEARCH}}}",)).to_json([])["search"]
