"""Real programs as sweeps: a PyTorch script, a shell script, one that ignores SIGTERM; killed, resumed, searched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis import studies, wording
from sweeps.cli.main import main
from sweeps.results.columns import same_numbers
from sweeps.store import layout
from sweeps.store.local import FolderStore

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
TORCH = """\
# How well does a small network denoise?
name: denoise
task: command
base:
  run: ["{python}", train.py, --lr, "{lr}", --width, "{width}", --epochs, "{epochs}", --seed, "{seed}", --out, "{out}"]
  code: [train.py]
  lr: 1.0e-2
  width: 16
  epochs: 12
  metrics: {val/psnr_db: max, test/psnr_db: max}
seeds: 1
"""
SHELL = """\
# How quickly does a number shrink?
name: halve
task: command
base:
  run: [./halve.sh, "{start}", "{epochs}", "{out}"]
  code: [halve.sh]
  start: 64
  epochs: 3
  metrics: {val/size_px: min, test/size_px: min}
seeds: 1
grid: {start: [64, 32]}
baseline: base
claims:
  - {text: less stays small, metric: test/size_px, better: "start=32", than: "start=64"}
"""
STUBBORN = """\
# Does it end?
name: stubborn
task: command
base:
  run: ["{python}", stubborn.py]
  code: [stubborn.py]
  epochs: 500
  grace: 0.5
  metrics: {val/steps: max}
"""
HELD = """\
import fcntl, json, os
with open(os.path.join(os.path.dirname(os.environ["SWEEPS_OUT"]), ".in-use"), "r+") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = 0
    except BlockingIOError:
        held = 1
with open(os.environ["SWEEPS_RECORDS"], "a") as records:
    print(json.dumps({"epoch": 1, "val/held": held}), file=records)
"""
Sweeps = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(PROGRAMS, tmp_path / "repository")
    for name, text in (("denoise", TORCH), ("halve", SHELL), ("stubborn", STUBBORN)):
        (tmp_path / "repository" / f"{name}.yaml").write_text(text)
    return tmp_path / "repository"


@pytest.fixture(autouse=True)
def environment(folder: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The working folder is that of the sweep files; the cache of code is empty."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEPS_DATA", str(data_root))
    return monkeypatch


@pytest.fixture
def sweeps(capsys: pytest.CaptureFixture[str]) -> Sweeps:
    """Run the command in this process, because starting one costs seconds; returns what it printed."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        ended = main(arguments)
        said = "".join(capsys.readouterr())
        assert ended == code, said
        return said

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command in a process of its own, for what stops or kills it."""
    started = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _until(is_so: Callable[[], object], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _rows(store: Path, sweep: str) -> dict[tuple[str, int], list[dict[str, float]]]:
    frame = studies.read(FolderStore(store), sweep).records
    return {
        key: [same_numbers({k: v for k, v in row.items() if k != "trial"}) for row in rows.to_dict("records")]
        for key, rows in frame.groupby(["arm", "seed"])
    }


@pytest.mark.slow  # test_task.py kills and resumes programs in one process
def test_a_torch_script_is_killed_and_resumed_with_equal_numbers_and_arguments(
    sweeps: Sweeps, start: Start, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    whole, broken, told = tmp_path / "whole", tmp_path / "broken", tmp_path / "arguments"
    arguments = ("run", "denoise.yaml", "--address", "in-process", "--checkpoint-every", "0")
    environment.setenv("SWEEPS_TEST_ARGUMENTS", str(told))
    killed = start(*arguments, "--store", str(broken))
    _until(lambda: list(broken.glob("trials/*/checkpoint/*/2/manifest.json")), "no checkpoint after epoch 2")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    sweeps(*arguments, "--store", str(broken))
    environment.delenv("SWEEPS_TEST_ARGUMENTS")
    sweeps(*arguments, "--store", str(whole))
    assert len(list(broken.glob("trials/*/attempts/*"))) > len(list(whole.glob("trials/*/attempts/*")))
    assert str(_rows(broken, "denoise")) == str(_rows(whole, "denoise"))
    lines = told.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert all(r["facts"]["parameters"] for r in studies.read(FolderStore(whole), "denoise").results.values())


def test_a_shell_script_runs_and_a_resumed_sweep_needs_no_files(sweeps: Sweeps, tmp_path: Path, folder: Path) -> None:
    store = tmp_path / "store"
    sweeps("run", "halve.yaml", "--address", "in-process", "--store", str(store))
    rows = _rows(store, "halve")
    assert [[row["val/size_px"] for row in rows[arm, 0]] for arm in ("start=64", "start=32")] == [
        [32, 16, 8],
        [16, 8, 4],
    ]
    assert wording.unit("test/size_px") == "px"
    assert wording.better("test/size_px") == "min"
    text = sweeps("report", "halve", "--store", str(store), "--out", str(tmp_path / "report"))
    assert "test size px (px) ↓" in text
    assert "less stays small" in text
    (folder / "halve.sh").unlink()
    assert "2 done before" in sweeps("resume", "halve", "--address", "in-process", "--store", str(store))


@pytest.mark.slow  # test_task.py: it is killed after the grace time
def test_a_program_that_ignores_sigterm_does_not_hold_up_a_stop(
    sweeps: Sweeps, start: Start, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    store, ready = tmp_path / "store", tmp_path / "ready"
    environment.setenv("SWEEPS_TEST_READY", str(ready))
    running = start("run", "stubborn.yaml", "--address", "in-process", "--store", str(store))
    _until(ready.exists, "the program has not started")
    sweeps("stop", "stubborn", "--store", str(store))
    running.communicate(timeout=60)
    logs = "".join(path.read_text() for path in store.glob("trials/*/log/*.txt"))
    assert "did not end, and was killed" in logs


def test_its_scratch_folder_is_held_so_that_a_later_run_removes_those_of_killed_ones(
    sweeps: Sweeps, tmp_path: Path, folder: Path
) -> None:
    """`tests/sweeps/test_scratch.py` kills the holder of such a folder."""
    (folder / "held.py").write_text(HELD)
    text = STUBBORN.replace("stubborn", "held").replace("epochs: 500", "epochs: 1").replace("val/steps", "val/held")
    (folder / "held.yaml").write_text(text)
    sweeps("run", "held.yaml", "--address", "in-process", "--store", str(tmp_path / "store"))
    assert _rows(tmp_path / "store", "held")["base", 0][0]["val/held"] == 1


def test_a_search_with_early_stopping(sweeps: Sweeps, tmp_path: Path, folder: Path) -> None:
    text = SHELL.partition("grid:")[0] + (
        "search: {space: {start: {int: [1, 100]}}, trials: 3, metric: val/size_px, goal: min, sampler: random, "
        "early_stopping: {name: asha, grace_epochs: 1}}\n"
    )
    (folder / "halve.yaml").write_text(text)
    store = tmp_path / "store"
    sweeps("run", "halve.yaml", "--address", "in-process", "--store", str(store))
    assert ("tuned #1", 0) in _rows(store, "halve")


def test_the_programs_of_the_documentation_run(sweeps: Sweeps, tmp_path: Path, folder: Path) -> None:
    text = (ROOT / "docs" / "command.md").read_text()
    for title, content in re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        (folder / title).write_text(content)
    for content in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (folder / "page.yaml").write_text(content)
        sweeps("run", "page.yaml", "--address", "in-process", "--store", str(tmp_path / "store"))
    rows = _rows(tmp_path / "store", "steps")
    assert rows["larger", 0][-1]["test/error"] < rows["base", 0][-1]["test/error"]
    assert _rows(tmp_path / "store", "shell")["base", 0][0]["test/error"] == 0.6


def test_a_mistake_names_the_line_of_the_file(sweeps: Sweeps, folder: Path) -> None:
    (folder / "halve.yaml").write_text(SHELL.replace("code: [halve.sh]", "code: [none.sh]"))
    assert "halve.yaml:6: code: none.sh" in sweeps("check", "halve.yaml", code=2)
    (folder / "halve.yaml").write_text(SHELL + "report: {metrics: [test/other]}\n")
    assert "val/size_px, test/size_px" in sweeps("check", "halve.yaml", code=2)
    contrary = SHELL.replace("val/size_px: min, ", "val/psnr_db: min, ")
    (folder / "halve.yaml").write_text(contrary)
    assert "contradicts the meaning" in sweeps("check", "halve.yaml", code=2)


def test_the_error_of_a_program_is_stored(sweeps: Sweeps, tmp_path: Path, folder: Path) -> None:
    (folder / "halve.sh").write_text("#!/bin/sh\necho something is wrong\nexit 7\n")
    store = FolderStore(tmp_path / "store")
    text = sweeps("run", "halve.yaml", "--address", "in-process", "--store", store.uri, code=1)
    assert "exit code 7" in text
    ends = [layout.get_json(store, key) for key in store.keys("trials/") if key.endswith(".end.json")]
    assert len(ends) == 2
    assert all("something is wrong" in str(end) for end in ends)
    assert not any("Traceback" in str(end) for end in ends), "of this package, which has done nothing wrong"
