"""Columns are known by what their own sweep declares, whatever other sweeps of the process have declared."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.errors import SweepError
from sweeps.results import columns
from sweeps.spec import loader, yaml_document
from sweeps.spec.schema import TASKS

PROGRAM = """\
name: program
task: command
base: {run: [./train.sh], code: [train.sh], epochs: 1, metrics: {test/declared_elsewhere: max}}
report: {metrics: [test/declared_elsewhere, test/declared_elsewhere_on_lines]}
"""
OURS = """\
name: ours
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4, size: 32}
  mask: {name: centre}
  model: {name: mean_fill}
  epochs: 1
"""
PLACES = {
    "report": "report: {metrics: [COLUMN]}",
    "claim": "claims: [{text: t, metric: COLUMN, better: a, than: base}]\narms: [{name: a, set: {data.train: 16}}]",
    "limit": "claims: [{text: t, metric: test/psnr_db, arm: base, above: COLUMN}]",
    "quality": "report: {pareto: {quality: COLUMN, cost: [parameters]}}",
}


def sweep(text: str, **changes: Any) -> loader.Sweep:
    document = yaml_document.parse(text, "sweep.yaml")
    return loader.Sweep(yaml_document.Document("sweep.yaml", "", {**document.value, **changes}, {}))


@pytest.fixture(autouse=True)
def declared() -> None:
    """The columns of another sweep, read before in this process."""
    sweep(PROGRAM)
    assert columns.describe("test/declared_elsewhere_on_lines")[2]


@pytest.mark.parametrize("column", ["test/declared_elsewhere", "test/declared_elsewhere_on_lines"])
@pytest.mark.parametrize("place", PLACES)
def test_a_column_of_another_sweep_is_refused(place: str, column: str) -> None:
    more = yaml_document.parse(PLACES[place].replace("COLUMN", column), "more.yaml").value
    with pytest.raises(SweepError, match=column):
        sweep(OURS, **more)


def test_a_program_does_not_report_what_another_one_declares() -> None:
    own = {"run": ["./train.sh"], "code": ["train.sh"], "epochs": 1, "metrics": {"test/mine": "max"}}
    sweep(PROGRAM, base=own, report={"metrics": ["test/mine"]})
    with pytest.raises(SweepError, match="declared_elsewhere"):
        sweep(PROGRAM, base=own)


@pytest.mark.parametrize("column", ["test/psnr_db", "test/psnr_db_on_lines", "val/l1"])
def test_names_with_a_meaning_are_known_in_every_sweep(column: str) -> None:
    sweep(OURS, report={"metrics": [column]})


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"report": {"metrics": ["test/psnr_db"]}}, "report.metrics"),
        ({"report": {"metrics": ["test/mine"], "at": "best(val/psnr_db)"}}, "report.at"),
        ({"claims": [{"text": "t", "metric": "val/psnr_db", "arm": "base", "above": 1}]}, "claims"),
        ({"search": {"space": {"lr": {"float": [0.1, 1]}}, "trials": 1, "metric": "val/l1", "goal": "min"}}, "search"),
    ],
)
def test_a_program_reports_the_columns_that_it_declares_alone(change: dict[str, Any], key: str) -> None:
    """Not those of our tasks, though they have a meaning."""
    own = {"run": ["./train.sh"], "code": ["train.sh"], "lr": 1, "metrics": {"test/mine": "max", "val/mine": "max"}}
    with pytest.raises(SweepError, match="no trial reports") as caught:
        sweep(PROGRAM, base=own, **{"report": {}, **change})
    assert key in caught.value.given
    assert "mine" in caught.value.allowed


@pytest.mark.parametrize("task", [*(one for one in TASKS if one != "inpaint"), "./task.py"])
def test_scores_of_fills_are_refused_for_tasks_that_fill_nothing(task: str) -> None:
    with pytest.raises(SweepError, match=f"trials of task {task} do not fill images") as caught:
        sweep(OURS, task=task, report={"extra": ["kid_squeezenet"]})
    assert "report.extra[0]" in caught.value.given
