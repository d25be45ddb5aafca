"""A sweep of a user's task: run, edited, resumed from its store on a machine without the file, and refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from sweeps import api
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.results.columns import same_numbers
from sweeps.spec import expand, loader, yaml_document
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster.small import histories, run
from trainables import schema

TASK = """
import torch
from parts import square
metrics = {"val/error": "min", "test/error": "min"}
extend = True

def train(context, lr: float = 0.1):
    x = torch.nn.Parameter(torch.randn(1))
    optimiser = torch.optim.SGD([x], lr)
    state = {"x": x.data}
    context.keep(optimiser=optimiser, state=state)
    x.data = state["x"]
    for epoch in context.epochs:
        loss = square(x).sum() + torch.randn(1)[0] * 0.01
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        state["x"] = x.data
        yield {"train/loss": loss, "val/error": x.abs(), "test/error": x.abs()}
"""
SWEEP = """\
# Is a larger step better?
name: steps
task: ./task.py
base: {lr: 0.1, epochs: 2}
seeds: 2
arms:
  - {name: larger, set: {lr: 0.2}}
claims:
  - {text: a larger step is better, metric: test/error, better: larger, than: base}
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))  # the code of another cache would be found by later tests
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "task.py").write_text(TASK)
    (tmp_path / "mine" / "parts.py").write_text("def square(x):\n    return x ** 2\n")
    (tmp_path / "mine" / "steps.yaml").write_text(SWEEP)
    return tmp_path / "mine" / "steps.yaml"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command on one store; returns what it printed."""

    def call(verb: str, *arguments: str, code: int = common.DONE) -> str:
        where = ["--store", str(tmp_path / "store")]
        in_process = ["--address", "in-process"] if verb in ("run", "resume") else []
        assert main([verb, *arguments, *where, *in_process]) == code
        return "".join(capsys.readouterr())

    return call


def ids(sweep: Path) -> set[str]:
    return {trial.id for trial, _ in expand.expand(loader.load(sweep), schema).runs()}


def test_it_runs_and_an_edit_makes_new_trials(sweep: Path, command: Callable[..., str]) -> None:
    command("run", str(sweep))
    assert "nothing to run" in command("run", str(sweep))
    assert "1 claim of 1 study" in command("claims", "steps")
    first = ids(sweep)
    parts = sweep.with_name("parts.py")
    parts.write_text("# the same\n" + parts.read_text())
    assert ids(sweep) == first
    parts.write_text("def square(x):\n    return 2 * x ** 2\n")
    assert not ids(sweep) & first
    command("run", str(sweep))
    assert "4 finished trials were made by older code" in command("status", "steps")


@pytest.mark.parametrize("ending", ["sys.exit()", "sys.exit('no room')", "argparse.ArgumentParser().error('no')"])
def test_a_trial_whose_code_ends_the_process_fails_alone(sweep: Path, command: Callable[..., str], ending: str) -> None:
    """A runner ends a trial by SystemExit too, but inside a report."""
    task = f"import argparse, sys\n{TASK}".replace("yield {", f"if lr == 0.1:\n            {ending}\n        yield {{")
    sweep.with_name("task.py").write_text(task)
    line = next(number for number, text in enumerate(task.splitlines(), 1) if ending in text)
    out = command("run", str(sweep), code=common.FAILED)
    assert "2 failed, 2 done" in out
    assert f"the code of the trial would end the process (task.py:{line})" in out


def test_it_goes_on_from_its_store_when_the_file_is_gone(
    sweep: Path, tmp_path: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", str(sweep))
    whole = FolderStore(tmp_path / "whole")
    planned = expand.expand(loader.load(sweep, changes=("epochs=4",)), schema)
    run(planned, whole, None)
    for file in ("task.py", "parts.py"):
        sweep.with_name(file).unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    command("resume", "steps", "--set", "epochs=4")
    store = FolderStore(tmp_path / "store")
    for arm in stored_plans.require_plan(store, "steps")["arms"]:
        for trial in arm["trials"].values():
            results = [json.loads(one.get(layout.result_key(trial["id"], 4)))["history"] for one in (store, whole)]
            assert len(results[0]["val/error"]) == 4
            for column in ("val/error", "train/loss"):
                assert results[0][column] == results[1][column]


def test_the_schema_for_editors_accepts_it(sweep: Path) -> None:
    jsonschema.Draft7Validator(api.json_schema()).validate(yaml_document.read(sweep).value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("lr: 0.1", "lrr: 0.1"), "did you mean 'lr'?"),
        (("test/error", "test/eror"), "no trial reports 'test/eror'"),
        (("test/error", "test/psnr_db"), "no trial reports 'test/psnr_db'"),
        (("./task.py", "./tsk.py"), "there is no file"),
        (("./task.py", "inpiant"), "did you mean 'inpaint'?"),
        (("seeds: 2", "report: {extra: [./task.py]}"), "compute no metrics of a user's"),
        (
            ("seeds: 2", "search: {space: {lr: {float: [0.1, 1]}}, trials: 2, metric: val/x, goal: min}"),
            "val/error, or",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    sweep: Path, change: tuple[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.write_text(SWEEP.replace(*change))
    assert main(["check", str(sweep)]) == common.USER_ERROR
    err = capsys.readouterr().err
    assert says in err
    assert "steps.yaml:" in err
    assert all(part in err for part in ("why:", "allowed:", "do:"))


def test_a_direction_against_the_meaning_of_a_column_is_refused(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.with_name("task.py").write_text(TASK.replace('"val/error": "min"', '"val/psnr_db": "min"'))
    assert main(["check", str(sweep)]) == common.USER_ERROR
    assert "'min' of val/psnr_db contradicts the meaning of this name" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_gives_the_same_numbers(sweep: Path, tmp_path: Path, ray_address: str) -> None:
    planned = expand.expand(loader.load(sweep), schema)
    found = []
    for where in ("in-process", ray_address):
        store = FolderStore(tmp_path / where.partition(":")[0])
        run(planned, store, None, where)
        rows = histories(planned, store)
        found.append({label: [same_numbers(row) for row in some] for label, some in rows.items()})
    assert found[0] == found[1]
    assert len(found[0]) == 4
