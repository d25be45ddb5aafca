"""Reading a study, and the states of its cells."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis import studies
from analysis.study import KEYS
from sweeps.errors import SweepError
from sweeps.results import progress
from sweeps.store import attempts as stored_attempts
from tests.analysis.make_store import ARMS, EPOCHS, NOW, ArmSpec, history, make_store


def test_records_are_those_of_the_store(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    rows = study.records[(study.records["arm"] == "blind autoencoder") & (study.records["seed"] == 3)]
    assert list(rows["epoch"]) == list(range(1, EPOCHS + 1))
    assert list(rows["val/psnr_db"]) == history(ARMS[0], 3)["val/psnr_db"]
    assert rows["test/psnr_db"].notna().sum() == 2
    assert set(KEYS) <= set(rows.columns)
    assert len(rows["trial"].unique()) == 1


def test_values_are_told_by_seed(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    last = study.values("partial convolution", "test/psnr_db")
    assert sorted(last) == [0, 1, 2, 3, 4, 5]
    assert last[2] == history(ARMS[1], 2)["test/psnr_db"][-1]
    early = study.values("partial convolution", "test/psnr_db", epoch=10)
    assert early[2] == history(ARMS[1], 2)["test/psnr_db"][9]
    assert study.values("partial convolution", "test/psnr_db", epoch=11) == {}
    assert study.values("partial convolution", "test/no_such") == {}
    assert study.epochs("partial convolution", "test/psnr_db") == [10, 20]


def test_a_fill_serves_every_seed_and_is_exact(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    assert len(set(study.values("telea", "test/psnr_db").values())) == 1
    assert sorted(study.values("telea", "test/psnr_db", epoch=10)) == list(range(8))
    interval = study.interval("telea", "test/psnr_db")
    assert interval is not None
    assert (interval.exact, interval.n) == (True, 1)
    between = study.difference("telea", "mean fill", "test/psnr_db")
    assert between is not None
    assert between.exact
    assert between.mean == pytest.approx(4.8)
    to_trained = study.difference("telea", "blind autoencoder", "test/psnr_db")
    assert to_trained is not None
    assert (to_trained.exact, to_trained.n) == (False, 8)


def test_states_of_cells(tmp_path: Path) -> None:
    arm = ArmSpec("net", 25.0, states={0: "done", 1: "failed", 2: "running", 3: "interrupted", 4: "queued"})
    store = make_store(tmp_path, [arm], range(5), [])
    study = studies.read(store, "partial-conv", NOW)
    assert [cell.state for cell in study.cells] == ["done", "failed", "running", "interrupted", "queued"]
    failed, running = study.cells[1].progress, study.cells[2].progress
    assert (failed.error or {})["type"] == "Diverged"
    assert (running.epoch, running.record) == (12, {"val/psnr_db": 25.0})
    states = progress.trial_states(store, study.plan, NOW + 3600)
    assert states[study.cells[2].trial].state == "interrupted", "a heartbeat that stopped is no running trial"


def test_the_newest_attempt_decides(tmp_path: Path) -> None:
    store = make_store(tmp_path, [ArmSpec("net", 25.0, states={0: "failed"})], [0], [])
    trial = studies.read(store, "partial-conv", NOW).cells[0].trial
    attempt = stored_attempts.claim(store, trial, 1, {"claimed_at": NOW})
    assert attempt is not None
    stored_attempts.beat(store, attempt, {"time": NOW, "epoch": 1})
    state = studies.read(store, "partial-conv", NOW).cells[0].progress
    assert (state.state, state.error, state.attempt) == ("running", None, attempt.name)


def test_two_arms_may_share_a_trial_to_different_epochs(tmp_path: Path) -> None:
    """Epochs are not part of a trial's identity: the shorter arm is done while the longer one is not."""

    def longer(plan: dict) -> None:  # type: ignore[type-arg]
        twin = {**plan["arms"][0], "name": "longer"}
        twin["trials"] = {seed: {**trial, "epochs": 2 * EPOCHS} for seed, trial in twin["trials"].items()}
        plan["arms"].append(twin)

    study = studies.read(make_store(tmp_path, [ArmSpec("net", 25.0)], [0], [], change=longer), "partial-conv", NOW)
    assert [cell.state for cell in study.cells] == ["done", "interrupted"]
    assert study.cells[1].progress.reached == (EPOCHS,)


def test_the_best_epoch_by_validation(tmp_path: Path) -> None:
    store = make_store(tmp_path, change=lambda plan: plan["report"].update(at="best(val/l2_raw)"))
    study = studies.read(store, "partial-conv", NOW)
    assert study.values("blind autoencoder", "val/l2_raw")[0] == min(history(ARMS[0], 0)["val/l2_raw"])  # type: ignore[type-var]
    assert "best val L2 raw" in study.at_epoch()


def test_nulls_are_missing_and_not_zero(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path, [ArmSpec("net", 25.0, nan=True)], [0, 1], []), "partial-conv", NOW)
    assert study.values("net", "test/psnr_db") == {}
    assert study.interval("net", "test/psnr_db") is None
    assert math.isnan(study.records["test/psnr_db"].iloc[-1])


def test_arms_are_grouped_by_what_they_are_tested_on(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0, factors={"mask.f": "1"}), ArmSpec("b", 25.0, factors={"mask.f": "2"})]
    arms += [ArmSpec("c", 25.0, factors={"mask.f": "1"})]
    assert studies.read(make_store(tmp_path, arms, [0], []), "partial-conv", NOW).groups == [["a", "c"], ["b"]]


def test_arms_that_are_tested_on_the_same_masks_are_one_group_whatever_they_train_on(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0, factors={"mask.f": "1"}), ArmSpec("b", 25.0, factors={"mask.f": "2"})]
    store = make_store(tmp_path, arms, [0], [])
    for metrics, groups in (
        (["test/psnr_db_on_lines", "test/ssim_on_lines"], [["a", "b"]]),
        (["test/psnr_db_on_lines", "test/psnr_db"], [["a"], ["b"]]),
    ):
        study = studies.read(store, "partial-conv", NOW)
        study.plan["report"]["metrics"] = metrics
        assert study.groups == groups


def test_an_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    store = make_store(tmp_path, seeds=[0])
    with pytest.raises(SweepError) as error:
        studies.read(store, "partial-con", NOW)
    assert "partial-conv" in error.value.allowed
    assert error.value.fix == "did you mean `partial-conv`?"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", "a\\b", "x\0"])
def test_a_path_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SweepError) as error:
        studies.read(make_store(tmp_path, seeds=[0]), name, NOW)
    assert "path" in error.value.why
