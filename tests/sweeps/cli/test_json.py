"""`--json`: every verb that has it prints one document of its model, and errors have their four parts as fields."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sweeps.cli.main import build_parser, main
from sweeps.cli.programs import audit_json, doctor_json, gate_json, json_document, plan_json, result_json, trial_json
from tests.analysis.make_store import ArmSpec, make_store
from tests.sweeps.cli.test_cli import FILL

CLAIM = {"text": "it is better", "metric": "test/psnr_db", "better": "B", "than": "A"}
Read = Callable[..., dict[str, Any]]
ELSEWHERE = {"describe", "list", "protocols", "export-protocol", "score"}
"""Verbs whose documents other tests check."""


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished sweep of two arms, made by hand."""
    folder = tmp_path_factory.mktemp("json") / "store"
    make_store(folder, [ArmSpec("A", 25.0), ArmSpec("B", 27.0)], range(6), [CLAIM])
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A sweep file, and beside it a store in which the sweep is done."""
    file = tmp_path_factory.mktemp("json") / "fill.yaml"
    file.write_text(FILL)
    there = ["--store", str(file.parent / "store"), "--data", str(data_root), "--address", "in-process", "--quiet"]
    assert main(["run", str(file), *there]) == 0
    return file


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Run a verb and check its document; returns its values."""

    def run(model: type[BaseModel], *arguments: object, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == code
        said = capsys.readouterr()
        model.model_validate_json(said.out)
        found: dict[str, Any] = json.loads(said.out)
        assert found["schema"] == 1
        return found

    return run


def test_of_a_store(read: Read, reported: Path) -> None:
    there = ("--store", reported)
    name = "partial-conv"
    status = read(trial_json.StatusOutput, "status", name, *there)
    assert status["complete"]
    assert [trial["state"] for trial in status["trials"]] == ["done"] * 12
    assert read(trial_json.SweepsOutput, "status", *there)["sweeps"][0]["counts"] == {"done": 12}
    shown = read(trial_json.ShowOutput, "show", status["trials"][0]["id"], *there)
    assert shown["results"]
    assert shown["config"]
    report = read(result_json.ReportOutput, "report", name, *there)["reports"][0]
    assert report["verdicts"][0]["verdict"] == "holds"
    cell = next(cell for cell in report["cells"] if (cell["arm"], cell["metric"]) == ("B", "test/psnr_db"))
    assert cell["ours"]["n"] == 6
    assert cell["difference"]["low"] > 1
    assert cell["differs"]
    assert read(result_json.ClaimsOutput, "claims", name, *there)["claims"][0]["claim"] == "it is better"
    compared = read(result_json.CompareOutput, "compare", name, "--with-store", reported, *there)
    assert {cell["verdict"] for cell in compared["cells"]} == {"same numbers"}
    to = ("export-to", "tensorboard", name, *there, "--out", reported.parent / "logs")
    assert read(result_json.ExportToOutput, *to)["runs"] == 12
    assert read(result_json.ArchiveOutput, "archive", *there, "--out", reported.parent / "one.zip")["trials"] == 12


def test_files_of_a_report_are_listed(read: Read, reported: Path, tmp_path: Path) -> None:
    written = read(
        result_json.ReportOutput, "report", "partial-conv", "--store", reported, "--out", tmp_path, "--format", "csv,md"
    )
    assert written["files"]
    assert all(Path(file).is_file() for file in written["files"])


def test_of_a_sweep_that_runs(read: Read, trained: Path, data_root: Path, tmp_path: Path) -> None:
    there = ("--store", trained.parent / "store", "--data", data_root)
    checked = read(plan_json.CheckOutput, "check", trained, "--data", data_root)
    assert checked["arms"][0]["config"]["model"]["name"] == "mean_fill"
    (trial_id,) = checked["arms"][0]["trials"].values()
    planned = read(plan_json.PlanOutput, "plan", trained, *there)
    assert (planned["sweep"]["cached"], planned["sweep"]["left"]) == (1, [])
    fresh = read(plan_json.PlanOutput, "plan", trained, "--store", tmp_path / "empty", "--data", data_root)
    assert [trial["id"] for trial in fresh["sweep"]["left"]] == [trial_id]
    for verb in (("run", trained), ("resume", "fill")):
        assert read(trial_json.StatusOutput, *verb, *there, "--address", "in-process")["trials"][0]["id"] == trial_id
    assert read(result_json.ReproduceOutput, "reproduce", "fill", *there)["trials"][0]["state"] == "same"
    assert read(result_json.ExportTestOutput, "export-test", "fill", *there, "--out", tmp_path / "out")["images"] == 8
    assert read(trial_json.StopOutput, "stop", "fill", *there[:2]) == {"schema": 1, "name": "fill", "trial": None}
    assert read(trial_json.GcOutput, "gc", *there[:2])["trials"] == 1


def test_of_an_audit(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    values = {"A": (25.0, 25.3, 25.1, 25.2), "B": (26.1, 26.3, 26.2, 26.2)}
    rows = [f"{name},{seed},{value}" for name, row in values.items() for seed, value in enumerate(row)]
    file.write_text("\n".join(["method,seed,psnr_db", *rows]))
    tested = read(audit_json.AuditOutput, "audit", file)
    assert [(method["name"], method["value"]["n"]) for method in tested["methods"]] == [("B", 4), ("A", 4)]
    (pair,) = tested["pairs"]
    assert pair["difference"]["mean"] == pytest.approx(1.05)
    file.write_text("method,seed,psnr_db\nA,0,25.0\nB,0,26.1\n")
    alone = read(audit_json.AuditOutput, "audit", file, code=1)
    assert (alone["tested"], alone["cannot_be_told_apart"], alone["pairs"][0]["p_holm"]) == (False, None, None)


def test_of_a_gate(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.sh").write_text("""echo "@sweeps {\\"epoch\\": 1, \\"val/score\\": $(($1 % 7))}"\n""")
    settings = ("--command", "sh train.sh {seed}", "--metric", "val/score", "--goal", "max", "--budget", 3)
    assert read(gate_json.GateOutput, "gate", "init", *settings)["candidates"] == []
    tried = read(gate_json.GateTryOutput, "gate", "try", "--label", "the same", code=3)
    assert (tried["candidate"]["verdict"], tried["candidate"]["runs"], tried["left"]) == ("discard", 0, 3)
    (folder / "train.sh").write_text("exit 1")
    failed = read(gate_json.GateTryOutput, "gate", "try", "--label", "broken", code=3)
    assert "exit code 1" in failed["candidate"]["reason"]
    status = read(gate_json.GateOutput, "gate", "status")
    assert [one["number"] for one in status["candidates"]] == [1, 2]
    assert status["error"] == {"allowed": 0.05, "spent": 0, "left": 0.05}
    assert "no gate" in read(json_document.ErrorOutput, "gate", "status", "--name", "other", code=2)["error"]["why"]


def test_of_doctor_and_of_all_studies(read: Read, data_root: Path, tmp_path: Path) -> None:
    found = read(doctor_json.DoctorOutput, "doctor", "--store", tmp_path, "--data", data_root)
    assert found["ready"]
    studies = read(plan_json.CostsOutput, "plan", "--all", "--size", "tiny", "--store", tmp_path / "empty")
    assert {"partial-conv-tiny", "forgers-tiny"} <= {study["name"] for study in studies["studies"]}


@pytest.mark.parametrize(
    "verb",
    [
        ("status", "nothing"),
        ("show", "0000"),
        ("report", "nothing"),
        ("check", "missing.yaml"),
        ("run", "missing.yaml"),
        ("audit", "missing.csv"),
        ("describe", "nothing"),
    ],
)
def test_an_error_has_its_parts_as_fields(read: Read, tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "store").mkdir()
    store = () if verb[0] in ("check", "audit", "describe") else ("--store", tmp_path / "store")
    error = read(json_document.ErrorOutput, *verb, *store, code=2)["error"]
    assert all(error.values())


def test_every_verb_with_the_option_is_tested() -> None:
    (verbs,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    having = {name for name, parser in verbs.choices.items() if "--json" in parser._option_string_actions}
    tested = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in having - ELSEWHERE if f'"{name}"' not in tested} == set()
