"""A search: all state is in the store, for every sampler; suggestions are not repeated; pruned ones have no value."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import StoreError, SweepError
from sweeps.search.search import SAMPLERS, Ask, Search, SearchSpec, search_prefix, stored_searches
from sweeps.search.space import parse
from sweeps.spec.trial import canonical
from sweeps.store import layout
from sweeps.store.local import FolderStore

MIXED: dict[str, Any] = {
    "loss": {"simplex": ["l2", "adversarial"], "min": 1.0e-5},
    "optimiser.lr": {"float": [1.0e-4, 1.0e-1], "log": True},
    "model.width": {"choice": [32, 64, [8, 16]]},
}
CONDITIONAL: dict[str, Any] = {
    **MIXED,
    "optimiser.name": {"choice": ["adam", "sgd"]},
    "optimiser.momentum": {"float": [0.0, 0.99], "when": {"optimiser.name": "sgd"}},
}
FINITE: dict[str, Any] = {"a": {"choice": ["x", "y", "z"]}, "b": {"int": [1, 4]}}
PREFIX = search_prefix("study", "base")
LOCAL = tuple(name for name in SAMPLERS if name != "gp")  # gp takes a second per ask, and imports torch


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def spec(raw: dict[str, Any] = MIXED, **changes: Any) -> SearchSpec:
    given = SearchSpec(parse(raw), 20, ("val/psnr_db",), ("max",), seed=7)
    return dataclasses.replace(given, **changes)


def score(overrides: dict[str, Any]) -> float:
    """An objective that is best at lr 1e-3 and an adversarial weight of 1e-3."""
    lr, weight = overrides.get("optimiser.lr", 1e-3), overrides.get("loss.adversarial", 1e-3)
    return -((math.log10(lr) + 3) ** 2) - (math.log10(weight) + 3) ** 2 / 4


def judge(search: Search, ask: Ask) -> None:
    """Tell an ask as complete (most), pruned or failed, depending on the ask alone."""
    several = len(search.spec.metrics) > 1
    values = (score(ask.overrides), ask.overrides["optimiser.lr"]) if several else (score(ask.overrides),)
    if ask.number % 5 == 3 and not several:
        search.tell(ask.number, "pruned", intermediate={1: values[0] - 1, 2: values[0]})
    elif ask.number % 7 == 6:
        search.tell(ask.number, "failed")
    else:
        search.tell(ask.number, "complete", values)


def drive(search: Callable[[], Search], together: int = 3, tells: int = 10_000) -> list[dict[str, Any]]:
    """Ask and tell with `together` open suggestions, with a new `search()` for each ask. Returns all overrides."""
    for _ in range(tells):
        now = search()
        while len(now.open()) < together and now.ask():
            now = search()
        if not now.open():
            break
        judge(now, now.open()[0])
    return [ask.overrides for ask in search().asks()]


# --- all state is in the store ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("raw", [MIXED, CONDITIONAL], ids=["fixed", "conditional"])
def test_a_search_read_from_the_store_at_every_step_goes_the_same_way(
    tmp_path: Path, sampler: str, raw: dict[str, Any]
) -> None:
    asked = spec(raw, sampler=sampler, trials=14 if sampler == "gp" else 16)
    one = Search(FolderStore(tmp_path / "one"), "study", "base", asked)
    undisturbed = drive(lambda: one)
    store = FolderStore(tmp_path / "other")
    resumed = drive(lambda: Search(store, "study", "base", asked))
    assert resumed == undisturbed
    assert len({canonical(overrides) for overrides in resumed}) == asked.trials, "nothing is suggested twice"
    assert one.done
    assert one.ask() is None
    assert not one.exhausted


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc"])
def test_several_objectives(tmp_path: Path, sampler: str) -> None:
    asked = spec(sampler=sampler, trials=24, metrics=("psnr", "lr"), goals=("max", "min"))
    one, store = Search(FolderStore(tmp_path / "one"), "study", "base", asked), FolderStore(tmp_path / "other")
    assert drive(lambda: Search(store, "study", "base", asked)) == drive(lambda: one)
    complete = [ask for ask in one.asks() if ask.state == "complete"]
    beaten = [
        any(o.values[0] >= a.values[0] and o.values[1] <= a.values[1] and o.values != a.values for o in complete)
        for a in complete
    ]
    assert one.front() == [ask for ask, worse in zip(complete, beaten, strict=True) if not worse]
    with pytest.raises(SweepError, match="no single best"):
        one.best(1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """The suggestions of a sampler when nothing happens, asked for once."""

    @cache
    def of(sampler: str) -> list[dict[str, Any]]:
        one = Search(FolderStore(tmp_path_factory.mktemp(sampler)), "study", "base", spec(sampler=sampler))
        return drive(lambda: one)

    return of


@pytest.mark.parametrize("cut", [0, 1, 4, 11])
@pytest.mark.parametrize("sampler", LOCAL)
def test_an_ask_without_tell_goes_on_with_the_same_parameters(
    store: FolderStore, undisturbed: Callable[[str], list[dict[str, Any]]], sampler: str, cut: int
) -> None:
    asked, expected = spec(sampler=sampler), undisturbed(sampler)
    first = Search(store, "study", "base", asked)
    drive(lambda: first, tells=cut)
    waiting = first.open()
    again = Search(store, "study", "base", asked)
    assert again.open() == waiting
    assert [ask.overrides for ask in waiting] == expected[: len(again.asks())][-len(waiting) or len(expected) :]
    assert [trial.state.name for trial in again.study().trials].count("RUNNING") == len(waiting)
    assert drive(lambda: again) == expected


class Killed(BaseException):
    """Simulates SIGKILL."""


class DyingStore(FolderStore):
    """Raises `Killed` right before or right after its n-th creation."""

    def __init__(self, root: Path, fatal: int, after: bool) -> None:
        super().__init__(root)
        self.left, self.after = fatal, after

    def create(self, key: str, data: bytes) -> bool:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        done = super().create(key, data)
        if self.left == 0:
            raise Killed
        return done


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_killed_around_every_write(tmp_path: Path, sampler: str, after: bool) -> None:
    asked = spec(sampler=sampler, trials=14)
    one = Search(FolderStore(tmp_path / "one"), "study", "base", asked)
    undisturbed = drive(lambda: one, together=1)
    root, fatal, deaths = tmp_path / "other", 1, 0
    while True:
        mortal = Search(DyingStore(root, fatal, after), "study", "base", asked)
        fatal = (
            fatal % 4 + 1
        )  # to hit every kind of write; a constant 1 before the write would never get past the first
        try:
            found = drive(lambda mortal=mortal: mortal, together=1)  # type: ignore[misc]
            break
        except Killed:
            deaths += 1
    assert found == undisturbed
    assert deaths >= 8


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_another_process_goes_the_same_way(tmp_path: Path, sampler: str) -> None:
    """Suggestions do not depend on what differs between processes, such as the order of a set."""
    asked = spec(CONDITIONAL, sampler=sampler, trials=16)
    one = Search(FolderStore(tmp_path / "one"), "study", "base", asked)
    undisturbed = drive(lambda: one)
    store = FolderStore(tmp_path / "other")
    drive(lambda: Search(store, "study", "base", asked), tells=5)
    code = (
        "from tests.sweeps.search.test_search import *\n"
        f"asked = spec(CONDITIONAL, sampler={sampler!r}, trials=16)\n"
        f"store = FolderStore(Path({str(tmp_path / 'other')!r}))\n"
        "drive(lambda: Search(store, 'study', 'base', asked))\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, env={"PYTHONHASHSEED": "12345"})
    assert [ask.overrides for ask in Search(store, "study", "base", asked).asks()] == undisturbed


def test_what_is_stored_is_plain_json(store: FolderStore) -> None:
    search = Search(store, "study", "base", spec(sampler="cmaes"), clock=lambda: 1.7e9)
    drive(lambda: search)
    keys = list(store.keys(PREFIX))
    assert len(keys) == 1 + 2 * 20
    stored = [json.loads(store.get(f"{PREFIX}0003.{kind}.json")) for kind in ("ask", "tell")]
    assert all(one.pop("checksum").startswith("sha256:") for one in stored)
    ask, tell = stored
    assert ask.keys() == {
        *("schema", "number", "asked_at", "overrides", "params", "distributions", "study_attrs", "trial_attrs")
    }
    assert ask["distributions"]["optimiser.lr"]["name"] == "FloatDistribution"
    assert ask["asked_at"] == 1.7e9
    assert tell == {
        "schema": ask["schema"],
        "number": 3,
        "told_at": 1.7e9,
        "state": "pruned",
        "values": [],
        "intermediate": [[1, score(ask["overrides"]) - 1], [2, score(ask["overrides"])]],
    }
    assert not any(b"optimizer" in store.get(key) for key in keys), "Optuna's cmaes pickles its optimiser"


def test_readers_need_no_sweep_file(store: FolderStore) -> None:
    for arm in ("base", "L2 = 1"):
        search = Search(store, "study", arm, spec(trials=6))
        drive(lambda search=search: search)  # type: ignore[misc]
    found = stored_searches(store, "study")
    assert found.keys() == {"base", "L2 = 1"}
    assert found["base"].asks() == Search(store, "study", "base", spec(trials=6)).asks()
    assert found["base"].asks()[0].overrides == found["L2 = 1"].asks()[0].overrides, "arms start alike"
    study = found["L2 = 1"].study()
    assert study.study_name == "study/L2 = 1"
    assert study.metric_names == ["val/psnr_db"]
    assert [trial.user_attrs["overrides"] for trial in study.trials] == [a.overrides for a in found["L2 = 1"].asks()]
    assert stored_searches(store, "other") == {}


# --- no repetition ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_asked_once_through_and_then_exhausted(store: FolderStore, sampler: str) -> None:
    asked = spec(FINITE, sampler=sampler, trials=30)
    search = Search(store, "study", "base", asked)
    while ask := search.ask():
        assert not search.done
        search.tell(ask.number, "complete", [float(ask.overrides["b"])])
        search = Search(store, "study", "base", asked)
    configurations = {(ask.overrides["a"], ask.overrides["b"]) for ask in search.asks()}
    assert len(configurations) == len(search.asks()) == 12
    assert search.exhausted
    assert search.done


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_finite_corner_of_an_endless_space_is_left(store: FolderStore, sampler: str) -> None:
    raw = {"a": {"choice": [1, 2, 3]}, "x": {"float": [0.0, 1.0], "when": {"a": 3}}}
    search = Search(store, "study", "base", spec(raw, sampler=sampler, trials=30))
    while ask := search.ask():
        search.tell(ask.number, "complete", [-float(ask.overrides["a"])])  # the best two have no x
    assert len({canonical(ask.overrides) for ask in search.asks()}) == 30


def test_nsga2_that_only_crosses_over_repeats_nothing(store: FolderStore) -> None:
    """Optuna's nsga2 repeats about one suggestion in ten here: children of similar parents without mutation."""
    raw = {"x": {"float": [0.0, 1.0]}, "y": {"choice": ["a", "b"]}}
    search = Search(store, "study", "base", spec(raw, sampler="nsga2", trials=60))
    while ask := search.ask():
        search.tell(ask.number, "complete", [float(ask.overrides["x"])])
    assert len({canonical(ask.overrides) for ask in search.asks()}) == 60


def test_two_drivers_share_one_budget(store: FolderStore) -> None:
    asked = spec(trials=8)
    one, two = Search(store, "study", "base", asked), Search(store, "study", "base", asked)
    numbers = [ask.number for search in (one, two) * 6 if (ask := search.ask())]
    assert numbers == list(range(8))
    two.refresh()
    assert one.tell(0, "complete", [1.0])
    assert not two.tell(0, "failed"), "the first outcome stays"
    assert two.asks()[0].state == "complete"
    assert len(two.open()) == 7


# --- what samplers learn from -----------------------------------------------------------------------------------------


def test_pruned_ones_are_pruned_for_optuna(store: FolderStore) -> None:
    search = Search(store, "study", "base", spec())
    for intermediate in ({3: 1.0, 1: 2.0}, {1: math.nan}, None):
        ask = search.ask()
        assert ask
        search.tell(ask.number, "pruned", intermediate=intermediate)
    failed = search.ask()
    assert failed
    search.tell(failed.number, "failed")
    trials = Search(store, "study", "base", spec()).study().trials
    assert [trial.state.name for trial in trials] == ["PRUNED", "PRUNED", "PRUNED", "FAIL"]
    assert all(trial.values is None for trial in trials), "no truncated value"
    assert trials[0].intermediate_values == {1: 2.0, 3: 1.0}
    assert math.isnan(trials[1].intermediate_values[1])
    assert search.best(3) == []
    assert search.front() == []


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("goal", ["max", "min"])
def test_a_search_learns(store: FolderStore, sampler: str, goal: str) -> None:
    """Pruned suggestions count too: the worse half is pruned, so only that it was pruned shows that it is worse."""
    raw = {key: MIXED[key] for key in ("loss", "optimiser.lr")}
    search = Search(store, "study", "base", spec(raw, sampler=sampler, trials=60, goals=(goal,)))
    sign = 1 if goal == "max" else -1
    scores = []
    while ask := search.ask():
        scores.append(score(ask.overrides))
        if scores[-1] < -1.0:
            search.tell(ask.number, "pruned", intermediate={1: sign * scores[-1]})
        else:
            search.tell(ask.number, "complete", [sign * scores[-1]])
    assert sum(scores[-20:]) > sum(scores[:20]) / 2, "the scores are negative: half as far from the best"
    assert search.best(1)[0].values[0] == pytest.approx(sign * max(scores))


def test_best_are_the_best_complete_ones(store: FolderStore) -> None:
    search = Search(store, "study", "base", spec(goals=("min",)))
    for value in (3.0, 1.0, 2.0, 1.0):
        ask = search.ask()
        assert ask
        search.tell(ask.number, "complete", [value])
    search.ask()
    assert [(ask.number, ask.values) for ask in search.best(3)] == [(1, (1.0,)), (3, (1.0,)), (2, (2.0,))]
    assert len(search.best(99)) == 4
    assert {ask.number for ask in search.front()} == {1, 3}


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [], [1.0, 2.0]])
def test_a_value_that_no_sampler_can_judge(store: FolderStore, values: list[float]) -> None:
    search = Search(store, "study", "base", spec())
    search.ask()
    with pytest.raises(SweepError, match="tell the suggestion as failed"):
        search.tell(0, "complete", values)
    with pytest.raises(SweepError, match="a sampler cannot use"):
        search.tell(0, "pruned", [1.0])
    assert len(search.open()) == 1


# --- known good points ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", LOCAL)
def test_points_are_asked_first_and_exactly(store: FolderStore, sampler: str) -> None:
    whole = {"loss.l2": 0.999, "loss.adversarial": 0.001, "optimiser.lr": 2.0e-4, "model.width": [8, 16]}
    asked = spec(sampler=sampler, points=(whole, {"optimiser.lr": 3.0e-4}), trials=12)
    found = drive(lambda: Search(store, "study", "base", asked), together=2)
    assert found[0] == whole, "to the last bit, so that it is the same trial elsewhere"
    assert found[1]["optimiser.lr"] == 3.0e-4
    assert found[1].keys() == whole.keys()
    assert all(o["optimiser.lr"] not in (2.0e-4, 3.0e-4) for o in found[2:])


def test_points_can_be_added_and_trials_grow(store: FolderStore) -> None:
    before = drive(lambda: Search(store, "study", "base", spec(trials=5)))
    longer = spec(trials=8, points=({"optimiser.lr": 3.0e-4},))
    after = drive(lambda: Search(store, "study", "base", longer))
    assert after[:5] == before
    assert after[5]["optimiser.lr"] == 3.0e-4
    assert len(after) == 8


def test_a_point_outside_the_space_is_refused() -> None:
    with pytest.raises(SweepError, match="outside the range"):
        spec(points=({"optimiser.lr": 1.0},))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "changes", "why"),
    [
        (MIXED, {"sampler": "tpo"}, "there is no such name"),
        (MIXED, {"goals": ("up",)}, "there is no such name"),
        (MIXED, {"goals": ("max", "min")}, "each metric needs a goal"),
        (MIXED, {"metrics": (), "goals": ()}, "each metric needs a goal"),
        (MIXED, {"trials": 0}, "not a count"),
        (MIXED, {"trials": True}, "not a count"),
        (MIXED, {"sampler": "cmaes", "metrics": ("a", "b"), "goals": ("max", "min")}, "one objective only"),
        ({"a": {"choice": [1, 2]}}, {"sampler": "cmaes"}, "this space has none"),
    ],
)
def test_an_impossible_search_is_refused(raw: dict[str, Any], changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SweepError) as caught:
        spec(raw, **changes)
    assert why in caught.value.why
    assert caught.value.given.startswith("search")
    assert caught.value.allowed
    assert caught.value.fix


@pytest.mark.parametrize(
    "changes",
    [{"sampler": "random"}, {"seed": 8}, {"goals": ("min",)}, {"space": parse({"a": {"int": [1, 2]}})}],
    ids=["sampler", "seed", "goals", "space"],
)
def test_a_search_begun_otherwise_is_refused(store: FolderStore, changes: dict[str, Any]) -> None:
    Search(store, "study", "base", spec()).ask()
    with pytest.raises(SweepError, match="began with") as caught:
        Search(store, "study", "base", spec(**changes))
    assert type(caught.value) is SweepError, "not a damaged object"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("0001.ask.json", lambda text: text[: len(text) // 2]),
        ("0001.ask.json", lambda text: "[]"),
        ("0001.ask.json", lambda text: text.replace('"params"', '"parms"')),
        ("0001.ask.json", lambda text: text.replace('"number":1', '"number":2')),
        ("0001.ask.json", lambda text: text.replace("FloatDistribution", "Float")),
        ("0001.ask.json", None),
        ("0002.ask.json", None),
        ("0001.tell.json", lambda text: text.replace('"complete"', '"fine"')),
        ("0001.tell.json", lambda text: text.replace('"values":[', '"values":["')),
        ("search.json", lambda text: "{}"),
    ],
)
def test_a_damaged_object_is_passed_over_and_named(
    store: FolderStore, name: str, damage: Callable[[str], str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    search = Search(store, "study", "base", spec())
    for value in range(3):
        ask = search.ask()
        assert ask
        search.tell(ask.number, "complete", [float(value)])
    if damage is None:
        store.delete([PREFIX + name])
    else:
        text = store.get(PREFIX + name).decode()
        assert damage(text) != text
        store.put(PREFIX + name, damage(text).encode())
    layout._reported.clear()
    search = Search(store, "study", "base", spec())
    assert name in caplog.text
    state = {"ask": "failed", "tell": "running"}.get(name.split(".")[1], "complete")
    number = int(name[:4]) if state != "complete" else 0
    for ask in search.asks():
        lost = ask.number == number and state != "complete"
        assert (ask.state, ask.values) == ((state, ()) if lost else ("complete", (float(ask.number),)))
    if state == "running":
        assert search.tell(number, "complete", [float(number)]), "written again"
        assert Search(store, "study", "base", spec()).asks()[number].values == (float(number),)
    next_one = search.ask()
    assert next_one is not None
    assert next_one.number == 3, "later suggestions keep their numbers"


def test_a_newer_search_is_refused(store: FolderStore) -> None:
    Search(store, "study", "base", spec()).ask()
    store.put(f"{PREFIX}0000.ask.json", b'{"schema":999}')
    with pytest.raises(StoreError, match="schema 999"):
        Search(store, "study", "base", spec())


# --- side effects -----------------------------------------------------------------------------------------------------


def test_arms_have_keys_of_their_own() -> None:
    arms = ["base", "Base", "L2 = 1", "L2 - 1", "../..", "a/b", "é", "", " ", "x" * 300, "nul\0", ".writing-x"]
    prefixes = {search_prefix("study", arm) for arm in arms}
    assert len({prefix.lower() for prefix in prefixes}) == len(arms), "apart on file systems without case, too"
    assert all(len(prefix) < 100 and prefix.count("/") == 4 and prefix.isascii() for prefix in prefixes)


def test_optuna_is_imported_by_a_search_only_and_its_settings_stay(
    store: FolderStore, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys, sweeps.search.search, sweeps.search.space; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[3])
    import optuna

    before = optuna.logging.get_verbosity()
    search = Search(store, "study", "base", spec(CONDITIONAL, trials=14))
    drive(lambda: search)
    search.study()
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_an_ask_after_500_others_is_quick(store: FolderStore) -> None:
    first = Search(store, "study", "base", spec(trials=600))
    first.ask()
    first.tell(0, "complete", [0.0])
    ask, tell = (json.loads(store.get(f"{PREFIX}0000.{kind}.json")) for kind in ("ask", "tell"))
    for n in range(1, 500):
        lr = 1e-4 * 1.01**n
        params = {**ask["params"], "optimiser.lr": lr}
        changed = {**ask, "number": n, "params": params, "overrides": {**ask["overrides"], "optimiser.lr": lr}}
        store.put(f"{PREFIX}{n:04d}.ask.json", json.dumps(changed).encode())
        store.put(f"{PREFIX}{n:04d}.tell.json", json.dumps({**tell, "number": n, "values": [lr]}).encode())
    search = Search(store, "study", "base", spec(trials=600))
    assert search.ask()
    start = time.perf_counter()
    assert search.ask()
    assert time.perf_counter() - start < 0.5, "0.06 s on two free cores"
