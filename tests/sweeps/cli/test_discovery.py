"""What there is: `list`, `describe`, `schema`, `completion`, `--version`, and studies by their names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sweeps import api
from sweeps.api.discovery import KINDS
from sweeps.cli.common import USER_ERROR
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.spec.studies import studies
from tests.sweeps.cli.test_cli import Command, command, is_told
from trainables import registry

__all__ = ["command"]
ROOT = Path(__file__).resolve().parents[3]
THEIRS = '''"""What the file is for."""

from typing import Annotated

from pydantic import Field
from torch import nn


class Part(nn.Module):
    def forward(self, x):
        return x


class Net(nn.Module):
    """A network of theirs."""

    def __init__(self, depth: int, width: Annotated[int, Field(ge=1)] = 8):
        super().__init__()

    def forward(self, image, mask):
        return image


def grey(image, mask, level: float = 0.5):
    return image + level * mask


def holes(n, size, generator):
    return None


def l9(prediction, target):
    return 0


def helper(x):
    return x
'''


def run_python(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, timeout=120)


# --- list -------------------------------------------------------------------------------------------------------------


def test_list_without_a_kind_prints_the_kinds(command: Command) -> None:
    said = command("list")
    assert [line.split()[0] for line in said.out.splitlines() if line.strip()][2:] == list(KINDS)
    assert json.loads(command("list", "--json").out)["tasks"] == len(registry.names("task"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_has_a_meaning_and_an_example(command: Command, kind: str) -> None:
    said = command("list", kind)
    assert said.code == 0
    listed = json.loads(command("list", kind, "--json").out)
    assert listed
    for entry in listed:
        assert entry["name"] in said.out
        assert len(entry["meaning"]) > 5, entry
        assert entry["use"], entry
        assert all(option["meaning"] or "." in option["key"] for option in entry["options"]), entry


def test_describe_tells_what_a_users_file_defines(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "described.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    found = {entry["name"]: entry for entry in json.loads(command("describe", "./described.py", "--json").out)}
    kinds = {name.partition(":")[2]: entry["kind"] for name, entry in found.items()}
    assert kinds == {"Net": "methods", "grey": "methods", "holes": "masks", "l9": "losses"}
    (depth, width) = found["./described.py:Net"]["options"]
    assert (width["type"], width["default"]) == ("a whole number of at least 1", 8)
    assert (depth["required"], found["./described.py:Net"]["meaning"]) == (True, "A network of theirs.")
    assert found["./described.py:l9"]["meaning"] == "What the file is for.", "without a docstring, that of the file"
    for name in ("./described.py:Net", "described:Net", str(tmp_path / "described.py") + ":Net"):
        said = command("describe", name)
        assert said.code == 0
        assert "A network of theirs." in said.out
        assert "a whole number of at least 1" in said.out
    for name, why in ((":Part", "takes 1 argument"), (":Nett", "does not define Nett")):
        said = command("describe", f"./described.py{name}")
        assert said.code == 2
        assert why in said.err
    assert "there is no file" in command("describe", "./gone.py").err
    assert "sweeps check ./my_sweep.yaml" in command("describe", "./my_sweep.yaml").err


def test_models_are_those_of_the_registry(command: Command) -> None:
    for kind in ("method", "detector", "ensemble", "matcher"):
        listed = json.loads(command("list", kind, "--json").out)
        assert [entry["name"] for entry in listed] == list(registry.names(kind)), "the singular works as well"


def test_studies_say_their_question_and_whether_they_ran(command: Command) -> None:
    listed = {entry["name"]: entry for entry in json.loads(command("list", "studies", "--json").out)}
    assert len(listed) == len(list((ROOT / "sweeps").glob("*/*.yaml")))
    assert listed["partial-conv"]["facts"]["file"] == "inpainting/partial_conv.yaml"
    assert all(entry["meaning"].endswith("?") for entry in listed.values())
    assert listed["text-judge"]["facts"]["run in full"] == "yes"
    assert listed["forgers"]["facts"]["run in full"] == "only at the smaller size"
    assert listed["inpainter-families"]["facts"]["run in full"] == "no"
    assert listed["real-pairs"]["facts"]["run in full"] == "no"
    pages = [page.stem for page in (ROOT / "docs/findings").glob("*-small.md")]
    assert [name for name in pages if listed[name.removesuffix("-small")]["facts"]["run in full"] == "no"] == []
    assert listed["partial-conv"]["facts"]["run in full"] == "only at the smaller size"


def test_an_unknown_kind(command: Command) -> None:
    is_told(command("list", "method_s"), "methods, detectors", "did you mean `methods`?")


# --- describe ---------------------------------------------------------------------------------------------------------


def test_describe_prints_every_option_with_type_bounds_and_default(command: Command) -> None:
    said = command("describe", "random_regions")
    assert "Blobs of any shape" in said.out
    assert "mask: {name: random_regions}" in said.out
    (entry,) = json.loads(command("describe", "random_regions", "--json").out)
    cells = next(option for option in entry["options"] if option["key"] == "cells")
    assert cells["type"] == "a whole number of at least 2, of at most 64"
    assert (cells["default"], cells["required"]) == (8, False)
    assert "cells" in said.out
    assert "a whole number of at least 2, of at most 64" in said.out


OWN = {
    "my_metric.py": ("metrics", "inpaint", "report: {extra: [./my_metric.py]}", {"better": "min", "power": 1.0}),
    "my_data.py": ("datasets", "", "data: {name: ./my_data.py}", {"count": 1000}),
    "my_data.py:Discs": ("datasets", "", "data: {name: ./my_data.py:Discs}", {"count": 1000}),
    "my_loss.py": ("losses", "inpaint", "loss: {./my_loss.py: 1.0}", {}),
    "my_mask.py:disc": ("masks", "", "mask: {name: ./my_mask.py:disc}", {"radius": 0.2}),
    "my_change.py": (
        "changes",
        "detect",
        "test_changes: {changed: {name: ./my_change.py}}",
        {"levels": 16, "strip": 0.1},
    ),
    "residual_network.py": ("methods", "inpaint", "model: {name: ./residual_network.py}", {"width": 32, "depth": 4}),
}


@pytest.mark.parametrize("name", OWN)
def test_describe_knows_a_users_file(
    command: Command, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT / "examples")
    (entry,) = json.loads(command("describe", f"./{name}", "--json").out)
    options = {option["key"]: option["default"] for option in entry["options"]}
    assert (entry["kind"], entry["task"], entry["use"], options) == OWN[name]
    assert entry["meaning"]


def test_describe_says_what_is_wrong_with_a_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("1 / 0\n")
    for name, says in (("./mine.py", "raised ZeroDivisionError"), ("./lost.py", "there is no file")):
        assert main(["describe", name]) == USER_ERROR
        assert says in capsys.readouterr().err


def test_an_ambiguous_name_shows_all_that_it_means(command: Command) -> None:
    found = [(entry.kind, entry.task) for entry in api.describe("l1")]
    assert found[:3] == [("losses", "inpaint"), ("losses", "detect"), ("metrics", "")]
    assert ("arms", "detect") in [(entry.kind, entry.task) for entry in api.describe("majority")]
    assert "loss of task inpaint" in command("describe", "l1").out


@pytest.mark.parametrize("name", ["partial_conv", "partial-conv"])
def test_a_study_by_either_name(command: Command, name: str) -> None:
    said = command("describe", name)
    assert "Does a partial-convolution U-Net" in said.out
    assert "sweeps run partial_conv" in said.out


@pytest.mark.parametrize(
    ("name", "text"),
    [("test/psnr_db_hole", "hole pixels only"), ("sys/time_s", "epoch"), ("fid", "Inception distance")],
)
def test_a_metric(command: Command, name: str, text: str) -> None:
    assert text in command("describe", name).out


def test_an_unknown_name_has_similar_ones(command: Command) -> None:
    is_told(command("describe", "glcik"), "glcic")
    is_told(command("describe", "partial_con"), "partial_conv")
    is_told(command("describe", "test/nothing"), "sweeps")
    is_told(command("describe", ""), "sweeps list")


def test_a_task_lists_the_keys_of_its_base() -> None:
    (entry,) = [entry for entry in api.describe("detect") if entry.kind == "tasks"]
    keys = [option.key for option in entry.options]
    assert {"data.forged.images.name", "test_changes.LABEL.jpeg", "boxes.beta", "epochs"} <= set(keys)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("verb", ["list methods", "describe l1", "schema", "completion bash", "--version"])
def test_nothing_heavy_is_imported(verb: str) -> None:
    code = (
        "import sys\nfrom sweeps.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'ray', 'optuna', 'pandas') if name in sys.modules])"
    )
    done = run_python("-c", code, *verb.split())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr


# --- schema -----------------------------------------------------------------------------------------------------------


def test_schema_is_printed_or_written(command: Command, tmp_path: Path) -> None:
    said = command("schema")
    file = tmp_path / "below" / "sweep.json"
    written = command("schema", "--out", file)
    assert json.loads(said.out) == json.loads(file.read_text(encoding="utf-8"))
    assert "# yaml-language-server: $schema=FILE" in said.err
    assert f"# yaml-language-server: $schema={file}" in written.out


def test_a_schema_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    is_told(command("schema", "--out", tmp_path), "Is a directory")


# --- studies by name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text_judge", "text-judge"])
def test_a_study_is_checked_by_name_from_anywhere(name: str, tmp_path: Path) -> None:
    done = run_python("-m", "sweeps", "check", name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "text-judge: 1 arm x" in done.stdout


def test_every_study_is_found_by_both_names() -> None:
    for study in studies():
        assert api.load(study.stem).name == api.load(study.name).name == study.name


def test_a_file_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "sweeps/text/text_judge.yaml").read_text(encoding="utf-8")
    Path("text_judge").write_text(text.replace("name: text-judge", "name: mine"), encoding="utf-8")
    assert api.load("text_judge").name == "mine"


@pytest.mark.parametrize("given", ["partial_convv", "partial_conv.yaml", "nowhere/partial_conv.yaml"])
def test_a_similar_study_is_suggested(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SweepError) as refused:
        api.load(given)
    assert refused.value.fix == "did you mean the study `partial_conv`?"


def test_a_line_for_the_editor_is_not_the_question(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    text = (ROOT / "sweeps/text/text_judge.yaml").read_text(encoding="utf-8")
    file.write_text(f"# yaml-language-server: $schema=sweep.json\n{text}", encoding="utf-8")
    assert api.load(file).sweep.document.question == "Which of ten captions does an image show?"


# --- version and completion -------------------------------------------------------------------------------------------


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"inpaint-sweeps {metadata.version('inpaint-sweeps')}\n"


def completions(line: str, folder: Path) -> list[str]:
    """What the command suggests to a shell at the end of a line."""
    out = folder / "completions.txt"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}
    done = run_python("-m", "sweeps", cwd=folder, COMP_LINE=line, COMP_POINT=str(len(line)), **asked)
    assert done.returncode == 0, done.stderr
    return [one.strip() for one in out.read_text(encoding="utf-8").split("\n")]


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "partial_mine.yaml").write_text("")
    (tmp_path / "partial_notes.txt").write_text("")
    assert "describe" in completions("sweeps ", tmp_path)
    assert completions("sweeps list meth", tmp_path) == ["methods"]
    assert {"glcic", "glcic-parts"} <= set(completions("sweeps describe glci", tmp_path))
    assert {"partial_conv", "partial_conv_holes", "partial_mine.yaml"} <= set(
        completions("sweeps run partial_", tmp_path)
    )
    assert "partial_notes.txt" not in completions("sweeps run partial_", tmp_path)
    assert "--store" in completions("sweeps status --st", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_one_of_the_shell(command: Command, shell: str) -> None:
    said = command("completion", shell)
    assert said.code == 0
    assert "_ARGCOMPLETE" in said.out
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=said.out, text=True, capture_output=True).returncode == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_the_name_of_a_study(command: Command, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "sweeps"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweeps "$@"\n')
    program.chmod(0o755)
    words = "COMP_WORDS=(sweeps run text_j) COMP_CWORD=2 COMP_LINE='sweeps run text_j' COMP_POINT=17 COMP_TYPE=9"
    script = (
        f'{command("completion", "bash").out}\n{words}\n_python_argcomplete sweeps text_j run\necho "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["text_judge"], done.stderr
