"""The cost of a plan, from a store made by hand; and arms that have changed under the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.driver.pending_work import PendingWork
from cluster.driver.queue.trial_queue import Job
from sweeps.cli import console
from sweeps.errors import SweepError
from sweeps.results import check_unchanged, cost, progress
from sweeps.results.cost import CostLine, Estimate, RemainingWork, Speed
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from tests.sweeps.conftest import Expand

CPU = {"cpu": "EPYC", "host": "lab"}
HERE = "EPYC, 1 thread"
EPOCH_S, IMAGES_PER_S = 10.0, 32.0  # an epoch of 256 images: 8 s of training, 2 s of evaluation
ONCE_S = 5.0


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def finish(store: FolderStore, plan: Plan, arm: int = 0, hardware: dict[str, Any] = CPU, pace: float = 1.0) -> None:
    """Write results of all trials of an arm, and the plan that names them."""
    stored_plans.write_plan(store, plan.name, plan.to_json([]), plan.sweep.document.text, 1.0)
    trials = plan.arms[arm].trials.values()
    stored_trials.write_trials(store, trials)
    for trial in trials:
        epochs = max(1, trial.epochs)
        history: dict[str, Any] = {"epoch": list(range(1, epochs + 1))}
        if trial.epochs:
            history |= {"sys/time_s": [EPOCH_S * pace] * epochs, "sys/images_per_s": [IMAGES_PER_S / pace] * epochs}
        result = {
            "history": history,
            "started_at": 0.0,
            "ended_at": ONCE_S + (EPOCH_S * pace * epochs if trial.epochs else 0),
            "provenance": {"hardware": hardware, "cpus": 1},
        }
        store.put(layout.result_key(trial.id, trial.epochs), layout.dump(result))


def speed(store: FolderStore, plan: Plan, arm: int = 0, here: str = HERE) -> Speed | None:
    known = cost.timed_trials(store, lambda *_: True)
    return cost.speed("inpaint", plan.arms[arm].config, known, here)


def test_a_pace_is_that_of_trials_alike(store: FolderStore, expand: Expand) -> None:
    finish(store, expand())
    other = expand(("lr: 1.0e-3", "lr: 1.0e-2"), ("epochs: 4", "epochs: 9"))  # neither changes the time of an epoch
    assert speed(store, other) == Speed(EPOCH_S, ONCE_S, "2 finished", HERE)


def test_a_pace_is_scaled_by_images(store: FolderStore, expand: Expand) -> None:
    finish(store, expand())
    twice = speed(store, expand(("train: 256", "train: 512"), ("val: 64", "val: 192")))
    assert twice == Speed(pytest.approx(2 * 8 + 3 * 2), ONCE_S, "2 finished, scaled by images", HERE)
    whole = speed(store, expand(("train: 256, val: 64, test: 64", "test: 64")))
    assert whole is not None
    assert whole.epoch_s == pytest.approx(8 * 45_000 / 256 + 2 * 5_000 / 64)


@pytest.mark.parametrize("change", [("width: 8", "width: 9"), ("vanilla_autoencoder", "partial_conv_unet")])
def test_of_another_model_nothing_is_known(store: FolderStore, expand: Expand, change: tuple[str, str]) -> None:
    finish(store, expand())
    assert speed(store, expand(change)) is None


def test_a_model_that_does_not_train_costs_its_evaluation(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), arm=2)
    assert speed(store, expand(), arm=2) == Speed(0.0, ONCE_S, "1 finished", HERE)


def test_the_hardware_at_hand_is_preferred(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), hardware={"gpu": "H200"}, pace=0.1)
    finish(store, expand(("name: small", "name: two"), ("lr: 1.0e-3", "lr: 2.0e-3")), hardware=CPU)
    finish(store, expand(("name: small", "name: three"), ("lr: 1.0e-3", "lr: 3.0e-3")), hardware={"gpu": "H200"})
    assert (found := speed(store, expand())) is not None
    assert (found.epoch_s, found.hardware) == (EPOCH_S, HERE)
    assert (found := speed(store, expand(), here="another")) is not None
    assert found.hardware == "H200"


def test_suggestions_of_a_search_are_known_without_a_plan(store: FolderStore, expand: Expand) -> None:
    finish(store, expand())
    store.delete(list(store.keys("sweeps/")))
    assert speed(store, expand()) == Speed(EPOCH_S, ONCE_S, "2 finished", HERE)


def test_no_more_results_are_read_than_needed(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(("seeds: 2", "seeds: 9")))
    assert len(cost.timed_trials(store, lambda *_: True, most=4)) == 4
    assert cost.timed_trials(store, lambda *_: False) == []


def test_an_estimate_adds_up(expand: Expand) -> None:
    base, wide, fill = expand().arms
    paces = {8: Speed(10.0, 5.0, "x", HERE), 16: None}
    left = [RemainingWork("base", "inpaint", base.config, 1, epochs) for epochs in (4, 1)]
    left += [RemainingWork("wide", "inpaint", wide.config, 1, 4), RemainingWork("fill", "inpaint", fill.config, 1, 0)]
    left += [RemainingWork("suggestions", "inpaint", base.config, 10, 40, most=True)]
    found = cost.estimate(left, lambda _, config: paces.get(config["model"].get("width", 16)))
    assert [(line.labels, line.trials, line.epochs) for line in found.lines] == [
        (("base",), 2, 5),
        (("wide",), 1, 4),
        (("fill",), 1, 0),
        (("suggestions",), 10, 40),
    ]
    assert (found.epochs, found.most, found.computing_s) == (49, True, 60.0 + 450.0)
    assert [line.labels for line in found.unknown] == [("wide",)], "an evaluation alone is over soon"


def test_the_end_is_never_before_the_longest_trial() -> None:
    line = CostLine(("base",), 2, 20, False, True, Speed(10.0, 0.0, "x", HERE))
    assert Estimate((line,), at_once=1).wall_s == 200
    assert Estimate((line,), at_once=2).wall_s == 100
    assert Estimate((line,), at_once=64).wall_s == 100


def test_what_is_printed(expand: Expand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    measured = Job("c", 4, "wide · seed 1", ("sharpness",))
    work = PendingWork(expand(), [Job("a", 4, "base · seed 0"), Job("b", 4, "base · seed 1"), measured], 2, [], [])
    line = CostLine(("base",), 2, 8, False, True, Speed(900.0, 0.0, "2 finished", "H200"))
    other = CostLine(("wide",), 1, 4, True, True, None)
    console.plan(work, Estimate((line, other), 2, "2 CPUs here", HERE, ("early stopping can",)))
    out = capsys.readouterr().out
    assert "3 arms x 2 seeds = 5 different trials, 3 done before, 2 to run" in out
    assert "1 finished trial lacks `sharpness` of `report.extra`; a run measures the trained networks" in out
    assert "up to 12 epochs, 2.0 h of computing; about 60 min with 2 trials at once (2 CPUs here)" in out
    assert "times were measured on H200; this machine is EPYC, 1 thread" in out
    assert "without 1 of 2 kinds of trials, for which no times are known: sweeps plan FILE --measure" in out
    assert "warning: early stopping can" in out
    console.plan(work, Estimate((other,)))
    assert "up to 4 epochs; time unknown: sweeps plan FILE --measure" in capsys.readouterr().out


# --- changed arms -----------------------------------------------------------------------------------------------------

WIDER = ("set: {model.width: 16}", "set: {model.width: 32, optimiser.lr: 0.1}")


def refused(store: FolderStore, plan: Plan) -> None:
    check_unchanged.refuse_changed_arms(stored_plans.newest_plan(store, plan.name), plan, store)


def test_an_arm_with_results_of_another_configuration_is_refused(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), arm=1)
    with pytest.raises(SweepError) as caught:
        refused(store, expand(WIDER))
    assert caught.value.given == "arm 'wide' of sweep 'small'"
    assert "model.width was 16 and is 32; optimiser.lr was 0.001 and is 0.1" in caught.value.why
    assert "--replace" in caught.value.fix


def test_all_arms_that_a_changed_base_changes_are_counted(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), arm=0)
    finish(store, expand(), arm=1)
    with pytest.raises(SweepError) as caught:
        refused(store, expand(changes=("data.train=128",)))
    assert "data.train was 256 and is 128. 'wide' has changed too." in caught.value.why


@pytest.mark.parametrize(
    "change",
    [
        ("seeds: 2", "seeds: 3"),
        ("epochs: 4", "epochs: 8"),
        ("- {name: wide", "- {name: other, set: {model.width: 4}}\n  - {name: wide"),
        ("- {name: wide, set", "- {name: wide, published: row, set"),
        ("batch: 64", "resources: {cpus: 2}"),
    ],
    ids=["seeds", "epochs", "arms", "published", "resources"],
)
def test_a_sweep_may_grow(store: FolderStore, expand: Expand, change: tuple[str, str]) -> None:
    finish(store, expand(), arm=1)
    if "resources" in change[1]:
        change = ("seeds: 2", "seeds: 2\nresources: {cpus: 2}")
    refused(store, expand(change))


def test_an_arm_without_results_may_change(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), arm=0)
    refused(store, expand(WIDER))
    refused(FolderStore(store.root / "other"), expand(WIDER))


def test_what_has_no_influence_may_change(store: FolderStore, expand: Expand) -> None:
    finish(store, expand(), arm=2)
    refused(store, expand(("lr: 1.0e-3", "lr: 1.0e-1")))  # a fill without training has no learning rate


SEARCH = """\
seeds: 2
search:
  space: {optimiser.lr: {float: [1.0e-4, 1.0e-2], log: true}}
  trials: 4
  metric: val/psnr_db
  goal: max
  within_arms: true
"""


def test_tuned_arms_may_change(store: FolderStore, expand: Expand) -> None:
    plan = expand(("seeds: 2\n", SEARCH))
    assert [bool(arm.trials) for arm in plan.arms] == [False, False, True]
    stored = plan.to_json([])
    untuned = expand()
    finish(store, untuned, arm=1)
    stored["arms"] = untuned.to_json([])["arms"]  # as after the search: trials with its best values
    check_unchanged.refuse_changed_arms(stored, expand(("seeds: 2\n", SEARCH), WIDER), store)


# --- reading fewer results --------------------------------------------------------------------------------------------


def test_trials_that_are_there_are_not_written_again(store: FolderStore, expand: Expand) -> None:
    plan = expand()
    stored_trials.write_trials(store, (trial for trial, _ in plan.runs()))
    before = {key: (store.root / key).stat().st_mtime_ns for key in store.keys("")}
    stored_trials.write_trials(store, (trial for trial, _ in plan.runs()))
    assert before == {key: (store.root / key).stat().st_mtime_ns for key in store.keys("")}


def test_states_of_runs_are_those_of_the_plan(store: FolderStore, expand: Expand) -> None:
    plan = expand()
    finish(store, plan)
    wanted = progress.by_trial((trial.id, trial.epochs) for trial, _ in plan.runs())
    assert progress.states_of(store, wanted) == progress.trial_states(store, plan.to_json([]))
