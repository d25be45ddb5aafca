"""The study that is kept between suggestions suggests what a study built anew would suggest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.search import samplers
from sweeps.search.live_study import LiveStudy
from sweeps.search.search import Search, SearchSpec
from sweeps.search.space import parse
from sweeps.store.local import FolderStore

SPACE: dict[str, Any] = {
    "optimiser.lr": {"float": [1.0e-4, 1.0e-1], "log": True},
    "optimiser.name": {"choice": ["adam", "sgd"]},
    "optimiser.momentum": {"float": [0.0, 0.99], "when": {"optimiser.name": "sgd"}},
}
FINITE: dict[str, Any] = {"a": {"choice": ["x", "y", "z"]}, "b": {"int": [1, 3]}}
LIMITS = {"parameters": {"most": 1.0}}


def search(store: FolderStore, sampler: str, space: dict[str, Any] = SPACE, **changes: Any) -> Search:
    return Search(store, "study", "base", SearchSpec(parse(space), 24, ("val/l1",), ("min",), sampler, 7, **changes))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def ask(one: Search) -> dict[str, Any] | None:
    """The next suggestion, which a study built anew suggests as well."""
    expected = samplers.draw(one._history, LiveStudy())
    asked = one.ask()
    assert (asked and asked.overrides) == (expected and expected["overrides"])
    return asked.overrides if asked else None


def tell(one: Search, number: int) -> None:
    """Tell an outcome of every kind, some of them beyond a limit."""
    if number % 4 == 1:
        one.tell(number, "pruned", intermediate={1: 0.5 + number / 50, 2: 0.25})
    elif number % 4 == 2:
        one.tell(number, "failed")
    else:
        one.tell(number, "complete", [1 / (number + 1)], constraints={"parameters.most": number % 3 - 1.0})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc"])
def test_outcomes_of_every_kind_in_any_order(store: FolderStore, sampler: str) -> None:
    one = search(store, sampler, limits=LIMITS)
    for _ in range(4):
        ask(one)
    for number in (2, 0, 3):
        tell(one, number)
    ask(one)
    assert one.forget_failures() == 1
    ask(one)
    one.tell(2, "complete", [0.125], constraints={"parameters.most": 0.0})
    for number in range(4, 20):
        ask(one)
        tell(one, number)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_another_driver_asks_and_tells_too(store: FolderStore, sampler: str) -> None:
    one, other = search(store, sampler), search(store, sampler)
    for turn in range(8):
        ask(one)
        other.ask()  # finds that its number is taken, and draws again
        for driver, number in ((one, 2 * turn), (other, 2 * turn + 1)):
            tell(driver, number)
        one.refresh()
    assert len(one.asks()) == 16


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_rejected_draws_are_forgotten(store: FolderStore, sampler: str) -> None:
    one = search(store, sampler, FINITE)
    asked = []
    while overrides := ask(one):
        asked.append(overrides)
        tell(one, len(asked) - 1)
    assert len(asked) == 9, "the whole space"


def test_a_study_is_built_once_where_one_driver_searches(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one, built = search(store, "tpe"), []
    study = one._history.study

    def build() -> Any:
        built.append(len(one.asks()))
        return study()

    monkeypatch.setattr(one._history, "study", build)
    for number in range(24):
        one.ask()
        tell(one, number)
    assert built == [0]


def test_a_kept_space_gives_the_suggestions_of_a_plain_sampler(store: FolderStore) -> None:
    """Optuna's own sampler, new for each suggestion, against one whose search space is kept."""
    from optuna.samplers import TPESampler

    fixed = {key: SPACE[key] for key in ("optimiser.lr", "optimiser.name")}
    one = search(store, "tpe", fixed)
    for number in range(20):
        plain = TPESampler(seed=samplers.seed_of(one._history), multivariate=True, constant_liar=True)
        study = one.study()
        study.sampler = plain
        expected = one.spec.space.suggest(study.ask())
        asked = one.ask()
        assert asked is not None
        assert asked.overrides == expected
        if number % 5 != 3:  # some stay without an outcome, and get it later
            tell(one, number)
        if number % 10 == 9:
            tell(one, number - 6)
