"""A sweep with a metric and a data set of the user's, beside the same arms with ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.spec import expand, loader
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster.small import histories
from trainables import schema

SWEEP = """\
# Are mine the same as yours?
name: mine
task: inpaint
base:
  data: {name: cifar10, train: 32, val: 16, test: 16}
  mask: {name: lines}
  test_masks: {square: {name: centre}}
  model: {name: partial_conv_unet, width: 4}
  batch: 16
seeds: 1
arms:
  - {name: own data, set: {data: {name: ./mine.py:Cifar, train: 32, val: 16, test: 16}}}
  - {name: upside down, set: {data: {name: ./mine.py:Cifar, flipped: true, train: 32, val: 16, test: 16}}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
claims:
  - {text: "training beats the mean", metric: test/own_l1, better: base, than: mean fill}
report: {metrics: [test/l1, test/own_l1, test/own_l1_on_square], extra: [EXTRA], at: best(val/own_l1)}
"""
MINE = """
import torch
from trainables.data.sources import cifar
from trainables.data.splits import hash_order

def own_l1(prediction, target, scale: float = 1.0):
    return scale * (prediction - target).abs().mean((1, 2, 3))
own_l1.better = "min"

class Cifar:
    def __init__(self, split, root, flipped: bool = False):
        images = cifar.Cifar("cifar10", None, root).take(split, 32, 32)
        self.images = dict(zip(hash_order(32), images.flip(2) if flipped else images))

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return self.images[index], "a label"
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("EXTRA", "./mine.py:own_l1"))
    return tmp_path / "mine.yaml"


def run(sweep: Path, store: FolderStore, data_root: Path, *more: str) -> dict[str, dict[str, Any]]:
    """The last record of each arm, without the columns of the machine."""
    where = ["--store", store.uri, "--data", str(data_root), "--address", "in-process"]
    assert main(["run", str(sweep), *where, *more]) == common.DONE
    return {label.partition(" ·")[0]: rows[-1] for label, rows in histories(planned(sweep), store).items()}


def planned(sweep: Path) -> Plan:
    return expand.expand(loader.load(sweep), schema)


def ids(sweep: Path) -> dict[str, str]:
    return {arm.name: arm.trials[0].id for arm in planned(sweep).arms}


def test_they_give_our_numbers_where_they_do_the_same(
    sweep: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path / "store")
    rows = run(sweep, store, data_root)
    for row in rows.values():
        assert {key for key in row if "own" in key} == {"val/own_l1", "test/own_l1", "test/own_l1_on_square"}
        for column in ("val/l1", "test/l1", "test/l1_on_square"):
            assert row[column.replace("l1", "own_l1", 1)] == pytest.approx(row[column], abs=1e-6)
    assert rows["own data"] == rows["base"]
    assert rows["upside down"]["test/l1"] != rows["base"]["test/l1"]

    capsys.readouterr()
    assert main(["report", "mine", "--store", store.uri, "--out", str(tmp_path / "report")]) == common.DONE
    text = next((tmp_path / "report").glob("*.md")).read_text()
    assert "not known whether higher or lower" not in text

    without = tmp_path / "without.yaml"
    without.write_text(SWEEP.replace("EXTRA", "").replace("own_l1", "l1").replace("name: mine\n", "name: without\n"))
    plain = run(without, store, data_root)
    for name, row in plain.items():
        assert row == {key: value for key, value in rows[name].items() if "own_l1" not in key}


def test_a_sweep_goes_on_from_its_store_when_the_file_is_gone(
    sweep: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "store")
    run(sweep, store, data_root, "--set", "epochs=1")
    before = ids(sweep)
    sweep.with_name("mine.py").unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    where = ["--store", store.uri, "--data", str(data_root), "--address", "in-process"]
    assert main(["resume", "mine", *where, "--set", "epochs=2"]) == common.DONE
    arms = {arm["name"]: arm["trials"]["0"] for arm in stored_plans.require_plan(store, "mine")["arms"]}
    assert {name: trial["id"] for name, trial in arms.items()} == before
    for name in ("base", "own data"):
        result = json.loads(store.get(layout.result_key(arms[name]["id"], 2)))["history"]
        assert len(result["val/own_l1"]) == 2
        assert result["test/own_l1"][-1] == pytest.approx(result["test/l1"][-1], abs=1e-6)


def test_an_edit_makes_new_trials_and_a_comment_does_not(sweep: Path) -> None:
    first = ids(sweep)
    file = sweep.with_name("mine.py")
    file.write_text("# mine\n" + MINE.replace("scale *", "scale  *"))
    assert ids(sweep) == first
    file.write_text(MINE.replace("abs()", "square()"))
    changed = ids(sweep)
    assert not set(changed.values()) & set(first.values())
    sweep.write_text(SWEEP.replace("EXTRA", "{name: ./mine.py:own_l1, scale: 2.0}"))
    assert not set(ids(sweep).values()) & set(changed.values())


def test_plan_and_run_say_that_another_metric_trains_all_trials_again(
    sweep: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--store", str(tmp_path / "store"), "--data", str(data_root), "--address", "in-process"]
    fills = (
        SWEEP.replace("EXTRA", "")
        .replace("own_l1", "l1")
        .replace("{name: partial_conv_unet, width: 4}", "{name: telea}")
    )
    sweep.write_text(fills)
    assert main(["run", str(sweep), *where]) == common.DONE
    sweep.write_text(fills.replace("extra: []", "extra: [./mine.py:own_l1]"))
    words = "4 finished trials are trained again, because `report.extra` has other metrics than before (own_l1)"
    assert main(["run", str(sweep), *where]) == common.USER_ERROR, "the arms have other configurations"
    for command in (["plan", str(sweep)], ["run", str(sweep), "--replace"]):
        capsys.readouterr()
        assert main([*command, *where]) == common.DONE
        assert words in " ".join(capsys.readouterr().out.split())
    file = sweep.with_name("mine.py")
    file.write_text(MINE.replace("abs()", "square()"))
    for left, command in ((True, ["plan"]), (True, ["run"]), (False, ["run"])):
        capsys.readouterr()
        assert main([*command, str(sweep), *where]) == common.DONE
        assert (words.replace("4", "2") in " ".join(capsys.readouterr().out.split())) == left, (
            "two arms have other data"
        )


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("nothing", "there is no such score"),
        ("./mine.py:psnr_db", "the column test/psnr_db has a meaning already"),
        ("./mine.py:blur_on_lines", "the column test/blur_on_lines has a meaning already"),
        ("./mine.py:Cifar", "its columns would be called test/Cifar"),
        ("./mine.py:own_l1, ./mine.py:own_l1", "two metrics are called own_l1"),
        ("{scale: 2.0}", "it has no `name`"),
        ("./mine.py:lost", "it does not define lost"),
        ("{name: ./mine.py:own_l1, sclae: 2.0}", "did you mean 'scale'?"),
        ("{name: ./mine.py:own_l1, better: higher}", "input should be 'max' or 'min'"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(
    sweep: Path, extra: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SWEEP.replace("own_l1", "l1").replace("[EXTRA]", f"[{extra}]")
    sweep.write_text(text)
    assert main(["check", str(sweep)]) == common.USER_ERROR
    err = capsys.readouterr().err
    assert says in err
    assert f"mine.yaml:{1 + text[: text.index('extra:')].count(chr(10))}" in err
    assert all(part in err for part in ("why:", "allowed:", "do:"))


def test_a_task_without_images_to_score_refuses_metrics(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SWEEP.replace("task: inpaint", "task: match").replace("EXTRA", "./mine.py:own_l1")
    sweep.write_text(text)
    assert main(["check", str(sweep)]) == common.USER_ERROR
    assert "trials of task match compute no metrics" in capsys.readouterr().err
