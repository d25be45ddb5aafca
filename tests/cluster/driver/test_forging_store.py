"""Forged sets in a store: made once, continued after a kill, copied to the training machine, refused if unfit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import forging
from cluster.worker import inputs
from sweeps.errors import SweepError
from sweeps.store import attempts as stored_attempts
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.cluster import small
from tests.cluster.small import Planned
from tests.s3servers import Server, address
from trainables.errors import TrialError
from trainables.forgery import config as forgery_config

BLOCK: dict[str, Any] = {
    "images": {"name": "cifar10", "size": 32, "train": 12, "val": 6, "test": 6},
    "mask": {"name": "centre", "fraction": 0.25},
    "inpainters": [{"name": "mean_fill"}, {"name": "telea"}],
}
INPAINTER = """\
# What fills best?
name: small
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4}
  mask: {name: centre, fraction: 0.25}
  model: {name: vanilla_autoencoder, width: 8}
  batch: 4
  epochs: 1
seeds: 1
"""
DIES = """\
import os, sys, json, pathlib
from cluster.driver import forging
from sweeps.store.local import FolderStore

class Dying(FolderStore):
    left = int(sys.argv[3])

    def create(self, key, data):
        if not self.left:
            os.kill(os.getpid(), 9)
        self.left -= 1
        return super().create(key, data)

forging.ensure(Dying(pathlib.Path(sys.argv[1])), json.loads(sys.argv[4]), pathlib.Path(sys.argv[2]), quiet=True)
"""


def resolved(**changes: Any) -> dict[str, Any]:
    return forgery_config.resolve_forge({**BLOCK, **changes})


def contents(store: Store) -> dict[str, bytes]:
    return store.get_many(store.keys("datasets/"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> FolderStore:
    """A store with the set of BLOCK."""
    store = FolderStore(tmp_path_factory.mktemp("made"))
    forging.ensure(store, resolved(), data_root, quiet=True)
    return store


def test_a_set_is_made_once(made: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(made)
    set_id = forgery_config.forged_id(resolved())
    names = {key.removeprefix(f"datasets/{set_id}/") for key in before}
    assert {"config.json", "index.json", "card.md", "done.json", "shards/00000.tar", "shards/00002.json"} <= names
    assert json.loads(before[f"datasets/{set_id}/config.json"]) == resolved()
    monkeypatch.setattr(forging, "_keep", None)
    assert forging.ensure(made, resolved(), None, quiet=True) == set_id
    assert contents(made) == before


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(3, id="between a tar and its index"),
        pytest.param(9, id="before done.json", marks=pytest.mark.slow),
    ],
)
def test_killed_and_gone_on_with_gives_the_same_bytes(
    made: FolderStore, tmp_path: Path, data_root: Path, written: int
) -> None:
    creates = written + 1  # the fingerprint of the photographs is not below `datasets/`
    arguments = [str(tmp_path / "store"), str(data_root), str(creates), json.dumps(resolved())]
    died = subprocess.run([sys.executable, "-c", DIES, *arguments], capture_output=True, timeout=100)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    store = FolderStore(tmp_path / "store")
    kept = contents(store)
    assert len(kept) == written
    with pytest.raises(SweepError, match="it is not complete in the store"):
        inputs.forged_folder(store, forgery_config.forged_id(resolved()))
    forging.ensure(store, resolved(), data_root, quiet=True)
    assert contents(store) == contents(made)


def test_a_torn_shard_of_another_machine_is_replaced(
    made: FolderStore, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forging, "OTHER_S", 0.0)
    store = FolderStore(tmp_path / "store")
    store.put(f"datasets/{forgery_config.forged_id(resolved())}/shards/00001.tar", b"other bits")
    forging.ensure(store, resolved(), data_root, quiet=True)
    assert contents(store) == contents(made)


# --- inpainters of the store ------------------------------------------------------------------------------------------


@pytest.fixture
def inpainter(planned: Planned, store: Store, data_root: Path) -> Iterator[str]:
    plan = planned(text=INPAINTER)
    small.run(plan, store, data_root)
    return plan.runs()[0][0].id  # type: ignore[return-value]


def test_a_trained_inpainter_of_the_store(inpainter: str, store: Store, data_root: Path) -> None:
    block = resolved(inpainters=[{"trial": inpainter}])
    folder = inputs.forged_folder(store, forging.ensure(store, block, data_root, quiet=True))
    done = json.loads((folder / "done.json").read_bytes())
    assert done["inpainters"][inpainter] == 24
    with pytest.raises(TrialError, match="px"):
        forging.ensure(store, resolved(inpainters=[{"trial": inpainter}], images={**BLOCK["images"], "size": 64}), None)
    assert len(store.children("datasets")) == 1, "refused before anything was written"


NETWORK = """\
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, image, mask):
        return torch.sigmoid(self.layers(torch.cat([image, mask], 1)))

def grey(image, mask):
    return image + 0.5 * mask
"""


def test_a_network_of_the_user_is_an_inpainter(
    planned: Planned, store: Store, data_root: Path, cached: Path, tmp_path: Path
) -> None:
    """Its code comes from the store, on a machine that has never seen it."""
    (tmp_path / "net.py").write_text(NETWORK)
    text = INPAINTER.replace("vanilla_autoencoder, width: 8", "./net.py").replace(
        "seeds: 1", "arms:\n  - {name: grey, set: {model: {name: ./net.py:grey}}}\nseeds: 1"
    )
    plan = planned(text=text)
    small.run(plan, store, data_root)
    fill, trained = (trial.id for trial, _ in plan.runs())
    shutil.rmtree(cached)
    (tmp_path / "net.py").unlink()
    folder = inputs.forged_folder(
        store, forging.ensure(store, resolved(inpainters=[{"trial": trained}]), data_root, quiet=True)
    )
    assert json.loads((folder / "done.json").read_bytes())["inpainters"][trained] == 24
    with pytest.raises(TrialError, match="not a trained inpainter"):
        forging.ensure(store, resolved(inpainters=[{"trial": fill}]), data_root, quiet=True)


def test_an_unfinished_or_unknown_inpainter(planned: Planned, store: Store, data_root: Path) -> None:
    trial = planned(text=INPAINTER).runs()[0][0]
    block = resolved(inpainters=[{"trial": trial.id}])
    with pytest.raises(SweepError, match="no such trial"):
        forging.ensure(store, block, data_root)
    stored_trials.write_trials(store, [trial])
    with pytest.raises(SweepError, match="it has not finished"):
        forging.ensure(store, block, data_root)


# --- on the machine that trains ---------------------------------------------------------------------------------------


@pytest.fixture
def s3(moto: Server, aws: pytest.MonkeyPatch, cached: Path) -> Store:  # noqa: ARG001 - copies go to that folder
    aws.setenv("AWS_ENDPOINT_URL", moto.url)
    return open_store(address())


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_set_on_s3_is_copied_once_and_whole(made: FolderStore, s3: Store, cached: Path, data_root: Path) -> None:
    store = s3
    set_id = forging.ensure(store, resolved(), data_root, quiet=True)
    assert contents(store) == contents(made)
    folder = inputs.forged_folder(store, set_id)
    assert cached in folder.parents
    assert files(folder) == files(made.root / "datasets" / set_id)
    inode = folder.stat().st_ino
    assert inputs.forged_folder(store, set_id).stat().st_ino == inode, "not fetched again"
    (folder / "done.json").write_bytes(b"{}")  # of another set, or a damaged copy
    assert files(inputs.forged_folder(store, set_id)) == files(made.root / "datasets" / set_id)
    assert [path.name for path in folder.parent.iterdir()] == [set_id], "nothing half fetched is left"


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_the_outputs_of_a_finished_trial(kind: str, tmp_path: Path, s3: Store) -> None:
    store = FolderStore(tmp_path / "store") if kind == "folder" else s3
    with pytest.raises(SweepError, match="no such trial"):
        inputs.outputs_file(store, "t")
    attempt = stored_attempts.claim(store, "t", 0, {"claimed_at": 0.0})
    assert attempt is not None
    stored_trials.finish(store, attempt, 3, {"history": {"epoch": [1, 2, 3]}})
    with pytest.raises(SweepError, match="no stored outputs"):
        inputs.outputs_file(store, "t")
    store.put(attempt.key("samples", attempt.name, 3, "outputs.npz"), b"logits")
    for _ in range(2):
        assert inputs.outputs_file(store, "t").read_bytes() == b"logits"
