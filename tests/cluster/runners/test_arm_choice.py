"""`--arms` and `--skip-arms` run a part of a sweep, whose plan, claims and finished arms stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.driver import arm_choice
from cluster.driver.driver import IN_PROCESS
from sweeps import api
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster.small import Planned

FILLS = """\
# Which fill is best?
name: fills
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4}
  mask: {name: lines}
  model: {name: onion_peel}
arms:
  - {name: Telea, set: {model: {name: telea}}}
  - {name: "mean, of all", set: {model: {name: mean_fill}}}
claims: [{text: Telea is better, metric: test/psnr_db, better: Telea, than: base}]
report: {metrics: [test/psnr_db]}
"""
SEARCH = [
    "seeds=2",
    "search={space: {optimiser.lr: {float: [0.001, 0.01]}}, trials: 2, metric: val/psnr_db, goal: max, "
    "tune_seeds: [100], report_best: 2}",
]


def done(store: FolderStore) -> list[str]:
    """The arms with a finished trial, of the stored plan."""
    status = api.status(store, "fills")
    return [arm["name"] for arm in status.plan["arms"] if status.trials[arm["trials"]["0"]["id"]].state == "done"]


def test_a_part_runs_and_the_plan_stays_whole(
    tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, store = tmp_path / "fills.yaml", FolderStore(tmp_path / "store")
    file.write_text(FILLS)
    place = ["--store", store.uri, "--data", str(data_root), "--address", IN_PROCESS]
    assert main(["run", str(file), *place, "--arms", "mean, of all, base"]) == common.DONE
    assert "1 trial of other arms left out" in capsys.readouterr().out
    assert done(store) == ["base", "mean, of all"]
    first = stored_plans.require_plan(store, "fills")
    assert [arm["name"] for arm in first["arms"]] == ["base", "Telea", "mean, of all"]
    assert len(first["claims"]) == 1
    assert main(["plan", str(file), *place, "--skip-arms", "Telea"]) == common.DONE
    assert "nothing to run" in capsys.readouterr().out
    assert main(["resume", "fills", *place, "--skip-arms", "base", "--skip-arms", "mean, of all"]) == common.DONE
    assert done(store) == ["base", "Telea", "mean, of all"]
    assert stored_plans.require_plan(store, "fills")["hash"] == first["hash"], "the same plan all the time"
    assert len(stored_plans.read_plans(store, "fills")) == 1


def test_an_unknown_arm_is_told_before_anything_runs(tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    (tmp_path / "fills.yaml").write_text(FILLS)
    sweep = api.load(tmp_path / "fills.yaml")
    for options, fix in (
        (RunOptions(data=data_root, arms=("Telae, base",)), "did you mean `Telea`?"),
        (RunOptions(data=data_root, skip_arms=("mean, of all, bas",)), "did you mean `base`?"),
        (RunOptions(data=data_root, skip_arms=("base", "Telea", "mean, of all")), "skip fewer arms"),
    ):
        with pytest.raises(SweepError) as caught:
            api.run(sweep, store, options)
        assert caught.value.fix == fix
        assert "Telea" in caught.value.allowed
    assert not store.children("sweeps")


def test_a_search_runs_for_the_arms_that_take_their_values_from_it(planned: Planned) -> None:
    plan = planned(*SEARCH)
    base = plan.arms[0]
    for arms, names, searches in (
        ("tuned #1", [], True),
        ("base, blind", ["base", "blind"], False),
        ("blind, tuned #2", ["blind"], True),
    ):
        options = RunOptions(arms=(arms,))
        assert [arm.name for arm in arm_choice.part(plan, options).arms] == names
        assert arm_choice.searches(plan, options, base) == searches
