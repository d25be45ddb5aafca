"""Bad input to `sweeps report`, through the real command: stated in every format, or refused with a four-part error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.claims import published
from analysis.report import build as report
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.analysis.make_store import ArmSpec, make_store

NAME = "partial-conv"
FORMATS = ("html", "md", "tex", "csv", "parquet")
QUEUED, FAILED = (dict.fromkeys(range(4), state) for state in ("queued", "failed"))
NET, OTHER = ArmSpec("net", 26.0), ArmSpec("other", 27.0)

Texts = dict[str, str]
Report = Callable[..., Texts]


@pytest.fixture
def reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Report:
    """Runs `sweeps report` on a store in every format; returns the texts, with the terminal's output as `out`."""

    def run(store: FolderStore) -> Texts:
        command = ["report", NAME, "--store", store.uri, "--out", str(tmp_path / "out"), "--format", ",".join(FORMATS)]
        assert main(command) == 0
        found = {ending: (tmp_path / "out" / f"{NAME}.{ending}").read_bytes() for ending in FORMATS}
        assert found.pop("parquet").startswith(b"PAR1")
        return {"out": capsys.readouterr().out, **{ending: data.decode() for ending, data in found.items()}}

    return run


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The error text of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main([*command]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in ("error:", "why:", "allowed:"))
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("arms", "seeds", "words"),
    [
        ([replace(NET, states=QUEUED), replace(OTHER, states=QUEUED)], 4, "No answer yet: no trial has finished"),
        ([replace(NET, states=FAILED), replace(OTHER, states=FAILED)], 4, "No answer: all 8 cells failed"),
        ([NET, replace(OTHER, states=FAILED)], 4, "4 failed"),
        ([replace(NET, nan=True), replace(OTHER, nan=True)], 4, "no finished trial has a finite test PSNR"),
        ([NET, OTHER], 1, "with one seed, arms cannot be distinguished"),
    ],
    ids=["nothing finished", "all failed", "one arm failed", "NaN", "one seed"],
)
def test_what_is_missing_is_said(tmp_path: Path, reported: Report, arms: list[ArmSpec], seeds: int, words: str) -> None:
    texts = reported(make_store(tmp_path / "store", arms, range(seeds), []))
    for form in ("out", "html", "md"):
        assert words in " ".join(texts[form].split()), form
    for form in ("html", "md", "tex", "csv"):
        assert not re.search(r"\b(nan|NaN|None)\b", re.sub(r'base64,[^"]*', "", texts[form])), form


def test_a_metric_that_one_arm_lacks_leaves_its_cells_empty(tmp_path: Path, reported: Report) -> None:
    texts = reported(make_store(tmp_path / "store", [NET, replace(OTHER, nan=True)], range(4), []))
    rows = [line for line in texts["csv"].splitlines() if ",test/psnr_db," in line]
    assert len(rows) == 2
    assert "net" in texts["md"]
    assert "| other |" in texts["md"]


def test_an_arm_renamed_between_runs_keeps_its_trials(tmp_path: Path, reported: Report) -> None:
    """An arm's name is not part of a trial's identity: a renamed arm keeps its results; the page says so."""

    def rename(plan: dict[str, Any]) -> None:
        plan["arms"][1]["name"] = "another <name>"

    store = make_store(tmp_path / "store", [NET, OTHER], range(4), [])
    plan = {**json.loads(store.get(f"sweeps/{NAME}/plans/0001.json"))}
    body = {key: plan[key] for key in plan if key not in ("schema", "hash", "planned_at", "text")}
    rename(body)
    stored_plans.write_plan(store, NAME, body, f"name: {NAME}\n# renamed\n", plan["planned_at"] + 9000)
    texts = reported(store)
    assert "another &lt;name&gt;" in texts["html"]
    assert "1 arm added (“another &lt;name&gt;”) and 1 arm removed (“other”)" in texts["html"]
    study = report.build(store, NAME).study
    assert [len(study.values(name, "test/psnr_db")) for name in study.names] == [4, 4]


def test_a_result_of_a_newer_schema_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store", [NET, OTHER], range(2), [])
    key = next(key for key in store.keys("trials/") if "/result/" in key)
    store.put(key, layout.dump({**json.loads(store.get(key)), "schema": 2}))
    for command in (["report", NAME], ["claims"]):
        said = refused(capsys, *command, "--store", store.uri)
        assert key in said
        assert "schema 2" in said
        assert "install the newer inpaint-sweeps" in said


def test_results_without_a_schema_are_of_the_first(tmp_path: Path, reported: Report) -> None:
    store = make_store(tmp_path / "store", [NET, OTHER], range(4), [])
    expected = reported(store)["csv"]
    for key in [key for key in store.keys("trials/") if "/result/" in key][:3]:
        body = json.loads(store.get(key))
        del body["schema"]
        store.put(key, layout.dump(body))
    assert reported(store)["csv"] == expected


def test_published_figures_with_a_wrong_column_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, figures = tmp_path / "seeds.csv", published.read_figures
    path.write_text((published.HERE / "seeds.csv").read_text().replace(",printed,", ",as printed,", 1))
    monkeypatch.setattr(published, "read_figures", lambda: figures(path))
    store = make_store(tmp_path / "store", seeds=range(2))
    said = refused(capsys, "report", NAME, "--store", store.uri)
    assert f"{path}, line 1" in said
    assert "as printed" in said


def test_text_that_html_or_latex_would_interpret_is_shown(tmp_path: Path, reported: Report) -> None:
    arms = [ArmSpec("<b onclick=x>net</b> & 50 %", 26.0), ArmSpec(r"\input{/etc/passwd} $x_1^2$ {{ 7*7 }}", 27.0)]
    texts = reported(make_store(tmp_path / "store", arms, range(4), []))
    assert "<b onclick" not in texts["html"] + texts["md"]
    assert "&lt;b onclick=x&gt;net&lt;/b&gt; &amp; 50 %" in texts["html"]
    assert "{{ 7*7 }}" in texts["html"]
    assert r"\input{" not in texts["tex"]
    assert r"\$x\_1" in texts["tex"]
    assert arms[0].name in texts["csv"]


@pytest.mark.parametrize("verb", ["report", "claims", "status", "stop", "gc", "resume", "reproduce", "export-test"])
def test_a_path_is_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    store = make_store(tmp_path / "store", seeds=[0])
    before = sorted(tmp_path.rglob("*"))
    more = ["--out", str(tmp_path / "x")] if verb in ("export-test", "report") else []
    said = refused(capsys, verb, f"../sweeps/{NAME}", "--store", store.uri, *more)
    assert "sweep" in said
    assert sorted(tmp_path.rglob("*")) == before
