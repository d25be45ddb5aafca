"""Seeds until decided, end to end: looks, interruptions between and within them, two drivers, `--fresh`, the plan."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.claims.added_seeds import open_arms
from cluster.driver import driver, pending_work
from cluster.driver.execution import NoEvents, RunResult
from cluster.driver.looks import at_most, execute_looks, grown, is_judged
from sweeps.cli.main import main
from sweeps.results import missing_metrics
from sweeps.run_options import RunOptions
from sweeps.spec import expand, loader
from sweeps.spec.plan import Plan
from sweeps.store import attempts, plans
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from trainables import schema

PROGRAM = Path(__file__).parents[1] / "programs" / "noisy.sh"
NOISY = """\
# Which number is larger?
name: noisy
task: command
base:
  run: [./noisy.sh, "{number}", "{seed}"]
  code: [noisy.sh]
  number: 0.0
  epochs: 1
  metrics: {test/score: max}
seeds: {first: 4, step: 4, most: 12, until: decided}
arms:
  - {name: far, set: {number: 9.0}}
  - {name: near, set: {number: 1.2}}
claims:
  - {text: far is better, metric: test/score, better: far, than: base}
  - {text: near is better, metric: test/score, better: near, than: base}
"""
SEEDS = {"base": 12, "far": 8, "near": 12}
"""The seeds of each arm in the end: far is decided at the second look, near at none."""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    shutil.copy(PROGRAM, tmp_path)
    file = tmp_path / "noisy.yaml"
    file.write_text(NOISY)
    return expand.expand(loader.load(file), schema)


class StopAfter(NoEvents):
    """Asks the driver to stop when this many trials have ended; counts the looks."""

    def __init__(self, store: FolderStore, trials: int = -1, on_finished: Callable[[], None] = lambda: None) -> None:
        self.store, self.left, self.on_finished, self.looks = store, trials, on_finished, 0

    def ended(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            plans.request_stop(self.store, "noisy")

    def finished(self, *_: Any) -> None:
        self.looks += 1
        self.on_finished()


def execute(plan: Plan, store: FolderStore, events: NoEvents | None = None, **options: Any) -> RunResult:
    chosen = RunOptions(address=driver.IN_PROCESS, **options)
    return execute_looks(plan, store, chosen, events or NoEvents(), open_arms)


def stored_seeds(store: FolderStore) -> dict[str, int]:
    newest = plans.newest_plan(store, "noisy")
    assert newest is not None
    return {arm["name"]: len(arm["trials"]) for arm in newest["arms"]}


def attempts_of(plan: Plan, store: FolderStore) -> set[int]:
    """The numbers of attempts that the trials of the plan took."""
    trials = [trial.id for trial, _ in grown(plan, store, open_arms).runs()]
    return {len(attempts.attempt_numbers(store, trial)) for trial in trials}


def finish(plan: Plan, store: FolderStore, most: int = 1000) -> None:
    """Write results of the plan's trials that have none, as a worker does: far is clearly better, near is not."""
    for trial, _ in plan.runs()[:most]:
        if not stored_trials.is_finished(store, trial.id, trial.epochs):
            number = float(trial.config["parameters"]["number"])
            score = number / 2 + math.sin(5 * trial.seed + number)
            attempt = attempts.claim(store, trial.id, 0, {"claimed_at": 0.0, "provenance": {}})
            assert attempt is not None
            body = {"history": {"epoch": [1.0], "test/score": [score]}, "facts": {}, "provenance": {}}
            assert stored_trials.finish(store, attempt, trial.epochs, body)
            attempts.end(store, attempt, "done", 1.0)


def test_seeds_stay_while_a_metric_that_no_claim_judges_is_missing(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")
    for _ in range(3):
        finish(grown(plan, store, open_arms), store)
    monkeypatch.setattr(missing_metrics, "asked", lambda _: ("fid",))
    monkeypatch.setattr(missing_metrics, "measurable", lambda _, trials: set(trials))
    now = grown(plan, store, open_arms)
    assert {arm.name: len(arm.trials) for arm in now.arms} == SEEDS
    assert len(pending_work.work_left(now, store, schema).to_measure) == sum(SEEDS.values())
    assert (is_judged(plan, ["fid"]), is_judged(plan, ["score"])) == (False, True)


def test_the_seeds_follow_from_the_results_in_the_store(plan: Plan, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    seen = []
    for _ in range(3):
        now = grown(plan, store, open_arms)
        finish(now, store, most=len(now.runs()) - 1)
        assert grown(plan, store, open_arms).runs() == now.runs(), "a look waits for the last trial"
        finish(now, store)
        seen.append({arm.name: len(arm.trials) for arm in now.arms})
    assert seen == [dict.fromkeys(SEEDS, 4), dict.fromkeys(SEEDS, 8), SEEDS]
    assert grown(plan, store, open_arms).runs() == now.runs()
    assert execute(plan, store).complete, "nothing is left to run"
    assert stored_seeds(store) == SEEDS
    assert main(["claims", "noisy", "--store", store.uri]) == 0


@pytest.mark.slow
def test_looks_add_seeds_until_claims_are_decided(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, events = FolderStore(tmp_path / "store"), StopAfter(FolderStore(tmp_path / "store"))
    result = execute(plan, store, events)
    assert result.complete
    assert events.looks == 3
    assert stored_seeds(store) == SEEDS
    told = capsys.readouterr().err
    assert "look at 4 seeds: base, far, near go on to 8 seeds" in told
    assert "look at 8 seeds: base, near go on to 12 seeds; 1 arm needs no more" in told
    assert "look at 12 seeds: no arm gets more" in told
    # The commands show the looks, and a second run does nothing.
    assert attempts_of(plan, store) == {1}
    execute(plan, store)
    assert attempts_of(plan, store) == {1}
    assert len(plans.read_plans(store, "noisy")) == 3
    for verb in (["status", "noisy"], ["claims", "noisy"]):
        assert main([*verb, "--store", store.uri]) == 0
    told = capsys.readouterr().out
    assert "at most 12. By now 8 for “far”; 12 for “base” and “near”" in " ".join(told.split())
    assert main(["plan", str(tmp_path / "noisy.yaml"), "--store", str(tmp_path / "new")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 arms x up to 4 seeds = 12" in told
    assert "looks after 4, 8, 12 seeds: claims are decided after 8 seeds at the earliest" in told
    assert "3 arms x up to 12 seeds = 36" in told


@pytest.mark.slow
@pytest.mark.parametrize("trials", [3, 12, 15])
def test_an_interrupted_run_finds_its_look_again(
    plan: Plan, tmp_path: Path, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the first look, at its end, and within the second one."""
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 0.0)
    store = FolderStore(tmp_path / "store")
    stopped = execute(plan, store, StopAfter(store, trials), fresh=True)
    assert not stopped.complete
    assert stopped.left.jobs
    assert execute(plan, store, fresh=True).complete
    assert stored_seeds(store) == SEEDS
    assert attempts_of(plan, store) == {1}


@pytest.mark.slow
def test_a_driver_that_dies_between_looks(plan: Plan, tmp_path: Path) -> None:
    def die() -> None:
        raise RuntimeError("killed")

    store = FolderStore(tmp_path / "store")
    with pytest.raises(RuntimeError, match="killed"):
        execute(plan, store, StopAfter(store, on_finished=die))
    assert stored_seeds(store) == dict.fromkeys(SEEDS, 4)
    assert {arm.name: len(arm.trials) for arm in grown(plan, store, open_arms).arms} == dict.fromkeys(SEEDS, 8)
    assert execute(plan, store).complete
    assert stored_seeds(store) == SEEDS


def test_fresh_with_arms_deletes_the_results_of_these_alone(plan: Plan, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    finish(at_most(plan), store)
    kept = {arm.name: [trial.id for trial in arm.trials.values()] for arm in at_most(plan).arms}
    execute(plan, store, StopAfter(store, 1), fresh=True, arms=("far",))
    done = {name: sum(stored_trials.is_finished(store, trial, 1) for trial in ids) for name, ids in kept.items()}
    assert done.pop("far") < 12
    assert done == {"base": 12, "near": 12}


@pytest.mark.slow
def test_fresh_begins_anew_with_the_first_look(plan: Plan, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    execute(plan, store)
    events = StopAfter(store, on_finished=lambda: seen.append(stored_seeds(store)))
    seen: list[dict[str, int]] = []
    execute(plan, store, events, fresh=True)
    assert seen == [dict.fromkeys(SEEDS, 4), dict.fromkeys(SEEDS, 8), SEEDS]
    assert len(at_most(plan).runs()) == 36


@pytest.mark.slow
def test_two_drivers_reach_the_same_seeds(plan: Plan, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    other = threading.Thread(target=execute, args=(plan, FolderStore(tmp_path / "store")))
    other.start()
    result = execute(plan, store)
    other.join()
    assert result.complete
    assert stored_seeds(store) == SEEDS
    assert attempts_of(plan, store) == {1}
