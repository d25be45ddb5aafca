"""Code of the user's own: it runs from the store, on machines without the files, and its changes make new trials."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster.driver import driver, pending_work
from cluster.driver.queue.trial_queue import Job
from cluster.worker.user_code import bring_code
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.errors import StoreError
from sweeps.run_options import RunOptions
from sweeps.spec import expand, loader
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.cluster.small import Watched, histories, run
from tests.s3servers import Server, address
from trainables import schema
from trainables.code import cache

SWEEP = """\
# Does depth help a network of mine?
name: mine
task: inpaint
base:
  data: {name: cifar10, train: 32, val: 8, test: 8}
  mask: {name: ./mine/holes.py:stripe, width: 6}
  model: {name: ./mine/net.py, width: 4}
  loss: {l2: 1.0, ./mine/terms.py: 0.5}
  batch: 16
  epochs: 2
arms:
  - {name: deep, set: {model.depth: 2}}
  - {name: grey, set: {model: {name: ./mine/net.py:grey, level: 0.25}}}
seeds: 1
report: {metrics: [test/psnr_db]}
"""
FILES = {
    "net.py": """
import torch
from torch import nn
from parts.layers import layer

class MyNet(nn.Module):
    def __init__(self, width: int = 8, depth: int = 1):
        super().__init__()
        hidden = [layer(width, width) for _ in range(depth)]
        self.layers = nn.Sequential(layer(4, width), *hidden, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, image, mask):
        return torch.sigmoid(self.layers(torch.cat([image, mask], 1)))

def grey(image, mask, level: float = 0.5):
    return image + level * mask
""",
    "parts/__init__.py": "",
    "parts/layers.py": """
from torch import nn

def layer(inputs, outputs):
    from .activations import last  # imported when it is called
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), last())
""",
    "parts/activations.py": "from torch import nn\nlast = nn.ReLU\n",
    "terms.py": """
def l3(prediction, target, mask):
    return ((prediction - target).abs() ** 3 * mask).mean()
""",
    "holes.py": """
import torch

def stripe(n, size, generator, *, width: int = 4):
    top = torch.randint(0, size - width + 1, (n, 1), generator=generator)
    row = torch.arange(size)
    return ((row >= top) & (row < top + width))[:, :, None].expand(n, size, size)

def other(n, size, generator):
    return torch.ones(n, size, size)
""",
}
Command = Callable[..., int]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file beside the code that it names; this process has an empty cache of code."""
    for name, text in FILES.items():
        file = tmp_path / "home" / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    file = tmp_path / "home" / "mine.yaml"
    file.write_text(SWEEP)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return file


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def command(store: FolderStore, data_root: Path) -> Command:
    def run(verb: str, *arguments: str, address: str = "in-process") -> int:
        where = [] if verb == "status" else ["--address", address, "--data", str(data_root)]
        return main([verb, *arguments, "--store", store.uri, *where])

    return run


def trials(store: FolderStore) -> dict[str, str]:
    """The id of the one trial of each arm in the newest plan."""
    plan = stored_plans.require_plan(store, "mine")
    return {arm["name"]: arm["trials"]["0"]["id"] for arm in plan["arms"]}


def results(store: FolderStore) -> set[str]:
    return {key for key in store.keys("trials/") if "/result/" in key}


def test_changed_code_makes_new_trials_and_comments_do_not(
    sweep: Path, store: FolderStore, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("run", str(sweep)) == common.DONE
    first, done = trials(store), results(store)
    assert len(done) == 3

    layers = sweep.parent / "mine" / "parts" / "layers.py"
    layers.write_text(
        '"""Layers."""\n# a remark\n' + layers.read_text().replace("inputs, outputs,", "inputs,  outputs,")
    )
    capsys.readouterr()
    assert command("run", str(sweep)) == common.DONE
    assert trials(store) == first
    assert results(store) == done

    activations = sweep.parent / "mine" / "parts" / "activations.py"  # three imports deep
    activations.write_text(activations.read_text().replace("ReLU", "ELU"))
    assert command("run", str(sweep)) == common.DONE
    second = trials(store)
    assert not set(first.values()) & set(second.values())
    assert len(results(store)) == 6

    capsys.readouterr()
    assert command("status", "mine") == common.DONE
    older = "3 finished trials were made by older code (./mine/net.py"
    assert older in capsys.readouterr().out
    report = tmp_path / "report"
    assert main(["report", "mine", "--store", store.uri, "--out", str(report)]) == common.DONE
    assert older in next(report.glob("*.md")).read_text()


def test_a_sweep_goes_on_from_its_store_when_its_files_are_gone(
    sweep: Path, store: FolderStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", str(sweep), "--set", "epochs=1") == common.DONE
    before = trials(store)
    shutil.rmtree(sweep.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert command("resume", "mine", "--set", "epochs=2") == common.DONE
    assert trials(store) == before
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32), (200, 100, 50)).save(image)
    arguments = [before["deep"], str(image), "--mask", "8,8,8,8", "--store", store.uri, "--out", str(tmp_path / "out")]
    assert main(["predict", *arguments]) == common.DONE
    assert list((tmp_path / "out").glob("*.png"))


def test_through_ray_the_code_comes_from_the_store(
    sweep: Path, store: FolderStore, command: Command, tmp_path: Path, data_root: Path, ray_address: str
) -> None:
    """The processes of Ray have another cache and another working directory than this one."""
    assert command("run", str(sweep), address=ray_address) == common.DONE
    there = FolderStore(tmp_path / "there")
    arguments = ["run", str(sweep), "--store", there.uri, "--address", "in-process", "--data", str(data_root)]
    assert main(arguments) == common.DONE
    plan = stored_plans.require_plan(store, "mine")
    for trial in trials(store).values():
        keys = [list(one.keys(f"trials/{trial}/result/")) for one in (store, there)]
        assert keys[0] == keys[1]
    assert plan["arms"] == stored_plans.require_plan(there, "mine")["arms"]


SEARCH = """
search:
  space: {model.name: {choice: [./mine/net.py, ./mine/other.py]}}
  points: [{model.name: ./mine/net.py}, {model.name: ./mine/other.py}]
  trials: 2
  sampler: random
  metric: val/psnr_db
  goal: max
  tune_seeds: [100]
"""


@pytest.mark.slow  # above: sweeps without a search
def test_a_search_trains_the_files_as_they_were_planned(
    sweep: Path, store: FolderStore, command: Command, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a file that only the search can choose, in another process, without the files."""
    other = sweep.parent / "mine" / "other.py"
    other.write_text((sweep.parent / "mine" / "net.py").read_text())
    sweep.write_text(sweep.read_text() + SEARCH)
    planned = expand.expand(loader.load(sweep), schema)
    meant = schema.resolve("inpaint", {**planned.arms[0].given, "model": {"name": "./mine/other.py"}}, sweep.parent)
    other.write_text("raise SystemExit('changed after it was planned')")
    run(planned, store, data_root)
    shutil.rmtree(sweep.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert command("resume", "mine", "--set", "search.trials=3") == common.DONE
    asked = [
        layout.get_json(store, key)["config"]["model"]["name"] for key in store.keys("trials/") if "trial.json" in key
    ]
    assert meant["model"]["name"] in asked
    assert {name for name in asked if "other" in name} == {meant["model"]["name"]}


def test_code_that_was_changed_in_the_store_does_not_run(
    sweep: Path, store: FolderStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", str(sweep), "--set", "epochs=1") == common.DONE
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    code = next(name for name in store.children("code") if not name.endswith(".json"))
    key = next(key for key in store.keys(f"code/{code}/") if not key.endswith("__init__.py"))
    store.put(key, b"import os\nos.abort()\n")
    with pytest.raises(StoreError, match="have another hash"):
        bring_code(store, [code])
    assert not cache.is_kept(code)
    store.put(f"code/{code}.json", b'{"schema": 1, "files": ["../../../evil.py"]}')
    with pytest.raises((StoreError, ValueError)):
        bring_code(store, [code])
    assert not list(tmp_path.rglob("evil.py"))


def _changed(folder: Path) -> None:
    layers = folder / "parts" / "layers.py"
    layers.write_text(layers.read_text().replace("padding=1), last()", "padding=1, bias=False), last()"))
    (folder / "level.txt").write_text("0.75")


def _broken(folder: Path) -> None:
    for file in folder.rglob("*.py"):
        file.write_text("this is not Python")


CHANGES: dict[str, Callable[[Path], object]] = {"changed": _changed, "broken": _broken, "deleted": shutil.rmtree}


@dataclass
class Changing(Watched):
    """Changes the user's files in the middle of the first trial, which waits there for its first record to be taken."""

    change: Callable[[], object] = lambda: None

    def record(self, job: Job, row: dict[str, Any]) -> None:
        if not self.rows:
            self.change()
        super().record(job, row)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """The records of a run whose files stay as they are, once for all tests."""
    return {}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        *((change, "in-process") for change in CHANGES),
        pytest.param("broken", "ray", marks=[pytest.mark.ray, pytest.mark.slow]),
    ],
)
def test_nothing_wrong_is_recorded_when_files_change_while_the_sweep_runs(
    sweep: Path,
    store: FolderStore,
    tmp_path: Path,
    data_root: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: dict[str, Any],
    change: str,
    where: str,
) -> None:
    """Also of a data file that the code opens when it is used, by a relative path and in the folder of the code."""
    where = request.getfixturevalue("ray_address") if where == "ray" else where
    net = sweep.parent / "mine" / "net.py"
    reading = 'with open("level.txt") as file:\n        return image + float(file.read()) * mask'
    net.write_text(net.read_text().replace("return image + level * mask", reading))
    (net.parent / "level.txt").write_text("0.5")
    monkeypatch.chdir(net.parent)
    planned = expand.expand(loader.load(sweep), schema)
    if not undisturbed:
        there = FolderStore(tmp_path / "undisturbed")
        run(planned, there, data_root)
        undisturbed |= histories(planned, there)
    work = pending_work.work_left(planned, store, schema)
    driver.write(work.plan, store, ())
    watched = Changing(change=lambda: CHANGES[change](net.parent))
    driver.run(work, store, schema, RunOptions(address=where, data=data_root), watched)
    assert len(watched.rows) > 1
    assert pending_work.work_left(planned, store, schema).jobs == []
    assert histories(planned, store) == undisturbed


RAISES = "raise ValueError('no such width')\n"
RAISING = {
    "__init__": ("super().__init__()\n", f"super().__init__()\n        {RAISES}"),
    "forward": ("return torch.sigmoid", f"{RAISES}        return torch.sigmoid"),
    "layer": ("from .activations", f"{RAISES}    from .activations"),
}


@pytest.mark.parametrize("function", RAISING)
def test_an_error_in_a_users_code_is_shown_with_its_line_when_the_sweep_runs(
    sweep: Path, command: Command, capsys: pytest.CaptureFixture[str], function: str
) -> None:
    name = "parts/layers.py" if function == "layer" else "net.py"
    file = sweep.parent / "mine" / name
    file.write_text(file.read_text().replace(*RAISING[function]))
    line = next(place for place, text in enumerate(file.read_text().splitlines(), 1) if "raise" in text)
    assert command("run", str(sweep), "--set", "epochs=1") == common.FAILED
    assert f"failed: ValueError: no such width ({name}:{line} in {function})" in capsys.readouterr().out
    assert command("status", "mine") == common.DONE
    assert f"ValueError: no such width ({name}:{line} in {function})" in capsys.readouterr().out


# --- other machines ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_node_without_the_files_and_without_a_shared_disk_trains_them(
    sweep: Path,
    tmp_path: Path,
    data_root: Path,
    ray_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    moto: Server,
    aws: pytest.MonkeyPatch,
) -> None:
    """Three CPUs for each trial: more than the head has. The code reaches the second node through S3 alone."""
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    planned = expand.expand(loader.load(sweep, changes=("resources.cpus=3",)), schema)
    shutil.rmtree(sweep.parent)
    (tmp_path / "node").mkdir()
    with monkeypatch.context() as node_only:
        node_only.chdir(tmp_path / "node")
        node_only.setenv("XDG_CACHE_HOME", str(tmp_path / "node" / "cache"))
        node = ray_cluster.add_node(num_cpus=3)
    try:
        store = open_store(address())
        run(planned, store, data_root, ray_cluster.address)
    finally:
        ray_cluster.remove_node(node)
    assert set(histories(planned, store)) == {f"{label} to {trial.epochs}" for trial, label in planned.runs()}
    codes = {one.name for one in (tmp_path / "node" / "cache" / "inpaint-sweeps" / "code").iterdir()}
    assert codes == {name for name in store.children("code") if not name.endswith(".json")}


@pytest.mark.slow
def test_two_workers_of_ray_train_share_a_users_code(
    sweep: Path, tmp_path: Path, data_root: Path, ray_address: str
) -> None:
    for workers, name, where in ((1, "one", "in-process"), (2, "two", ray_address)):
        planned = expand.expand(loader.load(sweep, changes=(f"resources.workers={workers}",)), schema)
        run(planned, FolderStore(tmp_path / name), data_root, where)
    one, two = (histories(planned, FolderStore(tmp_path / name)) for name in ("one", "two"))
    assert set(one) == set(two)
    for label, rows in one.items():
        for row, other in zip(rows, two[label], strict=True):
            assert other["val/psnr_db"] == pytest.approx(row["val/psnr_db"], abs=1e-3)
