"""A sweep that asks for further metrics of finished trials: their networks are measured, and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from cluster.driver import driver, pending_work, reproduction
from cluster.driver.execution import NoEvents, execute_plan
from cluster.worker import store_session
from sweeps import api
from sweeps.cli import console
from sweeps.cli.main import main
from sweeps.results.columns import same_numbers
from sweeps.run_options import RunOptions
from sweeps.spec.plan import Plan
from sweeps.store import attempts, checkpoints, layout, plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned, Watched, histories, run
from trainables import schema

SHARP = "report.extra=[sharpness]"
DETECT = """\
# Does the detector find the fills?
name: small
task: detect
base:
  data:
    forged: {images: {name: cifar10, train: 32, val: 16, test: 16}, inpainters: [{name: telea}]}
    input_size: 32
  model: {name: search_net, width: 4, head: mask}
  loss: {bce: 1.0, mask_bce: 1.0}
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 16
  epochs: 2
seeds: 1
report: {metrics: [test/auc]}
"""
PIXELS = "report.extra=[balanced_accuracy, pixel_auc]"


def execute(plan: Plan, store: Store, data_root: Path) -> None:
    """Run a plan with the forged sets that it needs."""
    execute_plan(plan, store, RunOptions(address=driver.IN_PROCESS, data=data_root), NoEvents())


def results(plan: Plan, store: Store) -> dict[str, Any]:
    keys = {layout.result_key(trial.id, trial.epochs): label for trial, label in plan.runs()}
    return {keys[key]: result for key, result in layout.intact(store.get_many(keys)).items()}


def values_of_images(plan: Plan, store: Store) -> dict[str, bytes]:
    """The files of values that the results name, by label and name; all of them must be there."""
    found: dict[str, bytes] = {}
    for trial, label in plan.runs():
        result = stored_trials.read_result(store, trial.id, trial.epochs)
        assert result is not None
        folder = layout.join("trials", trial.id, "samples", result["attempt"], trial.epochs)
        found |= {f"{label} {name}": store.get(f"{folder}/{name}") for name in result["files"]}
    return found


def trained(plan: Plan, store: Store) -> dict[str, Any]:
    """What the results say of the training."""
    kept = ("facts", "notes", "started_at", "ended_at", "provenance", "epochs")
    return {label: {name: result[name] for name in kept} for label, result in results(plan, store).items()}


def without(rows: Mapping[str, list[dict[str, Any]]], *columns: str) -> dict[str, list[dict[str, Any]]]:
    return {label: [{k: v for k, v in row.items() if k not in columns} for row in of] for label, of in rows.items()}


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a trial writes a checkpoint before the last epoch, which one that trains does."""

    def save(session: store_session.StoreSession, epoch: int, files: Mapping[str, bytes]) -> None:
        assert epoch == session.goal.epochs, "it was trained"
        real(session, epoch, files)

    real = store_session.StoreSession.save
    monkeypatch.setattr(store_session.StoreSession, "save", save)


def test_fills_are_measured_as_if_the_metric_had_been_asked_for_at_first(
    planned: Planned, store: Store, tmp_path: Path, data_root: Path, request: pytest.FixtureRequest
) -> None:
    before = planned()
    run(before, store, data_root, checkpoint_every_s=0)
    old, old_values = histories(before, store), values_of_images(before, store)
    said = trained(before, store)

    plan = planned(SHARP)
    work = pending_work.work_left(plan, store, schema)
    assert [job.missing for job in work.jobs] == [("sharpness",)] * 3
    assert (work.done, work.to_train, work.nothing) == (3, [], False)
    assert "3 finished trials lack `sharpness`" in work.incomplete

    request.getfixturevalue("no_steps")
    watched = run(plan, store, data_root, checkpoint_every_s=0)
    assert sorted({state for state, _ in watched.events}) == ["done", "started"]
    new = histories(plan, store)
    assert without(new, "test/sharpness") == old
    assert all("test/sharpness" in rows[-1] for rows in new.values())
    assert trained(plan, store) == said, "what a result says of the training stays"
    assert values_of_images(plan, store) == old_values
    assert [len(result["measured"]) for result in results(plan, store).values()] == [1, 1, 1]
    assert pending_work.work_left(plan, store, schema).nothing
    assert pending_work.work_left(before, store, schema).nothing, "the other sweep lacks nothing"

    request.getfixturevalue("monkeypatch").undo()
    at_once = FolderStore(tmp_path / "at once")
    run(plan, at_once, data_root, checkpoint_every_s=0)
    assert histories(plan, at_once) == new
    assert values_of_images(plan, at_once) == old_values


def test_detectors_are_measured_as_if_the_metrics_had_been_asked_for_at_first(
    planned: Planned, store: Store, tmp_path: Path, data_root: Path
) -> None:
    before = planned(text=DETECT)
    execute(before, store, data_root)
    old = histories(before, store)
    plan = planned(PIXELS, text=DETECT)
    execute(plan, store, data_root)
    new = histories(plan, store)
    added = ("test/balanced_accuracy", "test/pixel_auc")
    assert without(new, *added) == old
    assert all(set(added) <= set(rows[-1]) for rows in new.values())

    at_once = FolderStore(tmp_path / "at once")
    execute(plan, at_once, data_root)
    assert histories(plan, at_once) == new
    assert values_of_images(plan, at_once) == values_of_images(plan, store), "with the values of each image"


def test_two_sweeps_that_ask_for_different_metrics_share_a_trial(
    planned: Planned, store: Store, data_root: Path
) -> None:
    both = ("balanced_accuracy", "pixel_auc")
    for names in (both[:1], both[1:]):
        plan = planned(f"report.extra=[{', '.join(names)}]", text=DETECT)
        execute(plan, store, data_root)
    (result,) = results(plan, store).values()
    assert {f"test/{name}" for name in both} <= set(result["history"])
    assert result["extra"] == list(both)


def test_reproducing_a_sweep_does_not_compare_what_another_one_has_measured(
    planned: Planned, store: Store, tmp_path: Path, data_root: Path
) -> None:
    before, plan = planned("arms=[]"), planned("arms=[]", SHARP)
    run(before, store, data_root)
    jobs = reproduction.finished_trials(before.to_json([]), store, None, None)
    run(plan, store, data_root)
    options = RunOptions(address=driver.IN_PROCESS, data=data_root)
    for sweep, compared in ((before, False), (plan, True)):
        target = FolderStore(tmp_path / f"again {compared}")
        (again,) = reproduction.run_again(sweep, jobs, store, target, options, NoEvents())
        assert again.after is not None
        assert again.before.keys() == again.after.keys()
        assert ("test/sharpness" in again.before) == compared


def test_a_metric_that_cannot_be_computed_is_measured_once(planned: Planned, store: Store, data_root: Path) -> None:
    run(planned("arms=[]"), store, data_root)
    plan = planned("arms=[]", SHARP)
    ((trial, _),) = plan.runs()
    attempt = claimed(store, trial.id)
    before = stored_trials.read_result(store, trial.id, trial.epochs)
    assert before is not None
    body = {**before, "extra": ["sharpness"], "ended_at": 1.0}
    assert stored_trials.extend(store, attempt, before, body)
    assert pending_work.work_left(plan, store, schema).nothing


def test_values_of_images_are_kept_if_the_attempt_that_measures_has_none(
    planned: Planned, store: Store, data_root: Path
) -> None:
    """As an attempt of several processes, each of which sees a part of the images."""
    plan = planned("arms=[]")
    run(plan, store, data_root)
    values = values_of_images(plan, store)
    ((trial, _),) = plan.runs()
    before = stored_trials.read_result(store, trial.id, trial.epochs)
    assert before is not None
    history = {**before["history"], "test/sharpness": [None, None, 0.5]}
    body = {**before, "history": history, "extra": ["sharpness"], "files": {}, "ended_at": 1.0}
    assert stored_trials.extend(store, claimed(store, trial.id), before, body)
    assert values_of_images(plan, store) == values != {}
    assert histories(plan, store)["base · seed 0 to 3"][-1]["test/sharpness"] == 0.5


def claimed(store: Store, trial_id: str) -> attempts.Attempt:
    after = max(attempts.attempt_numbers(store, trial_id))
    attempt = attempts.claim(store, trial_id, after, {"claimed_at": 0.0})
    assert attempt is not None
    return attempt


def test_one_that_was_killed_while_it_was_measured_is_measured_again(
    planned: Planned, store: Store, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planned("arms=[]")
    run(before, store, data_root)
    old = histories(before, store)
    plan = planned("arms=[]", SHARP)
    with monkeypatch.context() as patch:
        patch.setattr(stored_trials, "extend", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(plan, store, data_root)
    assert histories(plan, store) == old, "its result is what it was"
    run(plan, store, data_root)
    assert without(histories(plan, store), "test/sharpness") == old
    assert pending_work.work_left(plan, store, schema).nothing


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_superseded_attempt_changes_nothing(planned: Planned, store: Store, data_root: Path) -> None:
    plan = planned("arms=[]", SHARP)
    run(planned("arms=[]"), store, data_root)
    ((trial, _),) = plan.runs()
    zombie = claimed(store, trial.id)
    claimed(store, trial.id)
    before = stored_trials.read_result(store, trial.id, trial.epochs)
    assert before is not None
    assert not stored_trials.extend(store, zombie, before, {**before, "extra": ["sharpness"], "ended_at": 1.0})
    assert stored_trials.read_result(store, trial.id, trial.epochs) == before


def test_a_trial_whose_network_is_not_there_is_told_and_not_trained(
    planned: Planned, store: Store, data_root: Path
) -> None:
    before = planned()
    run(before, store, data_root)
    lost = next(trial for trial, label in before.runs() if label.startswith("blind"))
    store.delete(list(store.keys(f"trials/{lost.id}/checkpoint/")))
    plan = planned(SHARP)
    work = pending_work.work_left(plan, store, schema)
    assert len(work.to_measure) == 2
    assert "1 finished trial lacks `sharpness` of `report.extra`; the store does not have" in work.incomplete
    run(plan, store, data_root)
    assert attempts.attempt_numbers(store, lost.id) == [1]
    left = pending_work.work_left(plan, store, schema)
    assert left.nothing
    assert left.incomplete.startswith("1 finished trial")
    for notes in (api.status(store, "small").notes, studies.read(store, "small").notes):
        (note,) = (note for note in notes if "lack" in note)
        assert note == left.incomplete, "no command is said to measure it"


def test_chosen_arms_are_measured_and_all_finished_trials_count_as_done(
    planned: Planned, store: Store, data_root: Path
) -> None:
    run(planned(), store, data_root)
    work = pending_work.narrowed(pending_work.work_left(planned(SHARP), store, schema), RunOptions(arms=("blind",)))
    assert [job.label.split(" ")[0] for job in work.to_measure] == ["blind"]
    assert (work.done, work.left_out) == (3, 0)


def test_sentences_are_about_the_chosen_arms(planned: Planned, store: Store, data_root: Path) -> None:
    run(planned(), store, data_root)
    store.delete([key for trial, _ in planned().runs() for key in store.keys(f"trials/{trial.id}/checkpoint/")])
    whole = pending_work.work_left(planned(SHARP, "report.test_epochs=[1, 2]"), store, schema)
    count = len(whole.lost)
    assert f"{count} finished trials lack" in whole.incomplete
    assert f"{count} finished trials were not tested" in whole.incomplete
    work = pending_work.narrowed(whole, RunOptions(arms=("blind",)))
    assert "1 finished trial lacks" in work.incomplete
    assert "1 finished trial was not tested" in work.incomplete


def test_a_damaged_network_is_an_error_and_not_trained_again(
    planned: Planned, store: Store, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = planned("arms=[]")
    run(before, store, data_root, checkpoint_every_s=0)
    old = histories(before, store)
    ((trial, _),) = before.runs()
    for name, epoch in checkpoints.checkpoints(store, trial.id):
        if epoch == trial.epochs:
            for key in store.keys(f"trials/{trial.id}/checkpoint/{name}/{epoch}/"):
                if not key.endswith(".json"):
                    store.put(key, b"damaged")
    watched = run(planned("arms=[]", SHARP), store, data_root)
    assert [state for state, _ in watched.events] == ["started", "failed"]
    newest = attempts.newest_attempt(store, trial.id)
    assert newest is not None
    end = layout.get_intact(store, newest.end_key)
    assert end is not None
    assert "its checkpoint of the last epoch, 3, is missing or damaged" in end["error"]["message"]
    state = api.status(store, "small").trials[trial.id]
    assert (state.state, state.error) == ("done", end["error"]), "status says why"
    newest_plan = plans.require_plan(store, "small")
    console.outcome(newest_plan, store, store.uri, [trial.id])
    assert f"{trial.id} failed:" in capsys.readouterr().out, "so does the end of a run"
    assert histories(before, store) == old
    ended = execute_plan(
        planned("arms=[]", SHARP), store, RunOptions(address=driver.IN_PROCESS, data=data_root), NoEvents()
    )
    assert (ended.complete, ended.ended) == (False, True), "the same command has nothing to add"
    longer = pending_work.work_left(planned("arms=[]", "base.epochs=4"), store, schema)
    assert (len(longer.to_train), longer.failed) == (1, []), "the trial itself has not failed"


def test_a_longer_sweep_goes_on_from_its_own_checkpoint_after_a_measurement(
    planned: Planned, store: Store, data_root: Path
) -> None:
    run(planned("arms=[]"), store, data_root, checkpoint_every_s=0)
    longer = planned("arms=[]", "epochs=5")
    ((trial, _),) = longer.runs()
    run(longer, store, data_root, checkpoint_every_s=0)
    last = [key for key in store.keys(f"trials/{trial.id}/checkpoint/") if "/5/" in key]
    store.delete([layout.result_key(trial.id, 5), *last])  # as if it had been stopped after epoch 4
    run(planned("arms=[]", SHARP), store, data_root, checkpoint_every_s=0)
    assert checkpoints.checkpoints(store, trial.id)[-1][1] == 4
    assert checkpoints.collect(store, trial.id)
    assert [epoch for _, epoch in checkpoints.checkpoints(store, trial.id)] == [3], "the network of the result"


def test_the_network_of_the_result_is_measured_though_a_shorter_sweep_ran_later(
    planned: Planned, store: Store, data_root: Path
) -> None:
    run(planned("arms=[]"), store, data_root, checkpoint_every_s=0)
    run(planned("arms=[]", "epochs=2"), store, data_root, checkpoint_every_s=0)
    plan = planned("arms=[]", SHARP)
    watched = run(plan, store, data_root)
    assert [state for state, _ in watched.events] == ["started", "done"]
    (result,) = results(plan, store).values()
    assert "test/sharpness" in result["history"]


def test_status_and_report_say_what_is_missing_and_show_what_was_measured(
    planned: Planned, store: Store, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(planned(), store, data_root)
    plan = planned(SHARP)
    driver.write(plan, store, ())
    sentence = "3 finished trials lack `sharpness` of `report.extra`; `sweeps resume small` measures the trained"
    assert any(sentence in note for note in api.status(store, "small").notes)
    assert any(sentence in note for note in studies.read(store, "small").notes)
    run(plan, store, data_root)
    assert not any("lack" in note for note in api.status(store, "small").notes)
    table = studies.read(store, "small")
    assert table.values("blind", "test/sharpness").keys() == {0}
    assert plans.newest_plan(store, "small")
    trial = next(trial for trial, label in plan.runs() if label.startswith("blind"))
    capsys.readouterr()
    assert main(["show", trial.id, "--store", store.uri]) == 0
    assert "test/sharpness: measured later, by attempt 0002-" in capsys.readouterr().out


def test_epochs_that_were_not_tested_are_told(planned: Planned, store: Store, data_root: Path) -> None:
    """A trial is tested while it trains: an epoch that is over cannot be tested later."""
    run(planned(), store, data_root)
    assert not pending_work.work_left(planned(), store, schema).incomplete
    plan = planned("report.test_epochs=[1, 2]")
    work = pending_work.work_left(plan, store, schema)
    assert work.nothing
    driver.write(plan, store, ())
    sentence = "2 finished trials were not tested at every epoch of `report.test_epochs`"
    assert work.incomplete.startswith(sentence)
    for notes in (api.status(store, "small").notes, studies.read(store, "small").notes):
        assert sum(sentence in note for note in notes) == 1


def test_on_ray(planned: Planned, store: Store, data_root: Path, ray_address: str) -> None:
    run(planned(), store, data_root)
    old = histories(planned(), store)
    plan = planned(SHARP)
    watched = run(plan, store, data_root, address=ray_address)
    assert isinstance(watched, Watched)
    assert [same_numbers(row) for row in watched.rows]
    assert without(histories(plan, store), "test/sharpness") == old
    assert pending_work.work_left(plan, store, schema).nothing
