"""Results that other code of ours has made are told, and trained again on request."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.worker import stale_code
from sweeps.store.local import FolderStore
from trainables.code import ours

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("sweeps", "trainables", "cluster", "analysis")
SWEEP = """\
# Does anybody notice?
name: noticed
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4}
  mask: {name: lines}
  model: {name: mean_fill}
arms:
  - {name: peel, set: {model: {name: onion_peel}}}
seeds: 1
report: {metrics: [test/psnr_db]}
"""
Command = Callable[..., str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages, whose code the test changes."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "checkout" / "noticed.yaml").write_text(SWEEP)
    return tmp_path / "checkout"


@pytest.fixture
def command(checkout: Path, data_root: Path) -> Command:
    """Run a command with the copy's code; returns what it said."""

    def run(*arguments: str) -> str:
        where = ["--address", "in-process", "--data", str(data_root)] if arguments[0] == "run" else []
        line = [sys.executable, "-m", "sweeps.cli", *arguments, "--store", "store", *where]
        done = subprocess.run(line, cwd=checkout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    return run


@pytest.mark.slow  # below and in test_report.py: what is found and told
def test_a_changed_module_of_ours_is_told_and_its_trials_are_trained_again(checkout: Path, command: Command) -> None:
    command("run", "noticed.yaml")
    network = checkout / "trainables" / "inpaint" / "methods" / "mean_fill" / "network.py"
    network.write_text("# a remark\n" + network.read_text().replace("the simplest", "the  simplest"))
    assert "other code than today" not in command("status", "noticed")

    network.write_text(network.read_text().replace("0.5)", "0.25)"))
    told = "1 of 2 finished trials were made by other code than today's: trainables.inpaint.methods.mean_fill.network"
    assert told in command("status", "noticed")
    assert told in command("report", "noticed", "--out", "report") + " ".join(
        (checkout / "report" / "noticed.md").read_text().split()
    )
    assert told in command("run", "noticed.yaml")

    store = FolderStore(checkout / "store")
    before = {key: store.get(key) for key in store.keys("trials/") if "/result/" in key}
    assert "1 to run" in command("run", "noticed.yaml", "--retrain-stale")
    after = {key: store.get(key) for key in store.keys("trials/") if "/result/" in key}
    assert before.keys() == after.keys()
    assert sum(before[key] != after[key] for key in before) == 1
    assert "other code than today" not in command("status", "noticed")


def test_the_modules_of_a_trial_are_those_that_it_runs() -> None:
    """Read from the source: every module of ours that a trial imports but those that no number depends on."""
    code = (
        "import sys\nfrom trainables import registry\n"
        "registry.find('task', 'inpaint').load(); registry.model('lama_fourier').load()\n"
        "print(*[name for name in sys.modules if name.startswith('trainables')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if not name.startswith(ours.NOT_NUMBERS)}
    found = set(ours.modules_of("inpaint", {"model": {"name": "lama_fourier"}}))
    packages = {"trainables.user_task"}  # of a module that is read with every configuration, but by no number
    assert not imported - found - packages, "not followed"
    assert not [name for name in found if "methods." in name and "lama" not in name and "outputs" not in name]


def test_the_layouts_that_a_trial_reads_are_part_of_its_code() -> None:
    """And no others: another published set that can be read marks no finished detector."""
    model = {"model": {"name": "detector"}}
    plain = ours.modules_of("detect", model)
    assert not [name for name in plain if ".layouts." in name]
    sets = {"data": {"set": {"layout": "casia"}}, "test_sets": {"bench": {"set": {"layout": "tgif"}}, "made": {}}}
    found = ours.modules_of("detect", {**model, **sets})
    assert set(found) - set(plain) == {f"trainables.forgery.layouts.{name}" for name in ("casia", "tgif")}
    for damaged in ({"data": "x"}, {"test_sets": []}, {"data": {"set": 1}}, {"data": {"set": {"layout": "../x"}}}):
        assert ours.modules_of("detect", {**model, **damaged}) == plain


def test_a_model_that_this_version_does_not_have_is_no_obstacle(tmp_path: Path) -> None:
    plan = {
        "name": "other",
        "task": "inpaint",
        "arms": [{"config": {"model": {"name": "../../evil"}}, "trials": {"0": {"id": "a" * 16, "epochs": 1}}}],
    }
    assert stale_code.find(FolderStore(tmp_path), plan).sentence == ""
