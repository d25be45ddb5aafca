"""Many kills and faults at random moments: trials that train at once, groups, forging, a full disk, a failing S3.

Each part is repeated until it has had as many faults as the variable SWEEPS_TEST_KILLS says, and then compares every
number with those of an undisturbed run. SWEEPS_TEST_SEED repeats a run as far as time allows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from sweeps.cli.main import main
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.cluster.driven import ACTOR, DRIVER, GCS, GROUP, RAY, RAYLET, DriverProcess, workplace
from tests.cluster.driver.test_kills import FEW, SWEEP, Undisturbed, differences, sweep_file
from tests.cluster.multi_worker.test_groups import TWO
from tests.cluster.small import Planned, histories
from tests.proxy import Answer, Proxy
from tests.s3servers import address

KILLS = int(os.environ.get("SWEEPS_TEST_KILLS", "5"))
"""Faults of each part."""
SEED = int(os.environ.get("SWEEPS_TEST_SEED") or random.randrange(2**31))
START_S = 25.0
"""A kill during the start of the command comes after at most this time."""
START, TRAINING = "at the start", "in training"
SURVIVED = (ACTOR, RAYLET, GCS, RAY)
"""The command may go on after the death of one of these."""
pytestmark = pytest.mark.slow
Starts = Callable[..., DriverProcess]


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def undisturbed(tmp_path: Path, data_root: Path) -> Undisturbed:
    return Undisturbed(tmp_path / "undisturbed", data_root)


def say(hits: Counter[str], found: Sequence[str]) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(hits.items()))
    print(f"{hits.total()} faults ({kinds}); differences: {len(found)}; seed {SEED}", flush=True)
    assert list(found) == []


def trains_on(driven: DriverProcess, seconds: float) -> bool:
    """Wait until another epoch is finished, and then some time. False if the command has ended."""
    before = driven.new_epochs()
    if not driven.until(lambda: driven.new_epochs() - before):
        return False
    time.sleep(seconds)
    return driven.process.poll() is None


# --- Ray --------------------------------------------------------------------------------------------------------------


def survive(begin: Callable[[], DriverProcess], kinds: Sequence[str], most: int, chance: random.Random) -> Counter[str]:
    """Run a command until it has done everything, with up to `most` kills on the way.

    At most two things are killed in one run of the command, because a trial fails after three deaths of its process.
    """
    hits: Counter[str] = Counter()
    while True:
        driven, killed = begin(), 0
        while hits.total() < most and killed < 2:
            kind, early = chance.choice(kinds), not killed and chance.random() < 0.25
            if early:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driven.process.wait(chance.uniform(0, START_S))
            if driven.process.poll() is not None or not (early or trains_on(driven, chance.uniform(0, 4))):
                break
            hit = driven.kill(kind, chance.choice)
            hits[f"{kind} {START if early else TRAINING}"] += hit or early
            killed += 1
            if kind not in SURVIVED:
                break
        code = driven.wait()
        if code == 0:
            return hits
        busy = "it did not start: " in driven.output_text()  # Ray, on a machine that runs other campaigns, too
        assert killed or busy, f"it ended with {code} though nothing was killed:\n{driven.output_text()}"


@pytest.mark.ray
def test_kills_of_two_trials_that_train_at_once(
    tmp_path: Path, undisturbed: Undisturbed, chance: random.Random
) -> None:
    hits: Counter[str] = Counter()
    found: list[str] = []
    number = itertools.count()
    file = sweep_file(tmp_path, SWEEP.replace("train: 192", "train: 512"))
    while hits.total() < KILLS:
        store = FolderStore(tmp_path / f"store-{next(number)}")
        options = ["--checkpoint-every", 0, "--address", "local", "--max-concurrent", 2]
        with workplace() as start:
            kinds = (DRIVER, ACTOR, RAYLET, GCS, RAY, GROUP)
            begin = partial(start, store, "run", file, *options)
            hits += survive(begin, kinds, KILLS - hits.total(), chance)
        found += differences(store, undisturbed)
    say(hits, found)


@pytest.mark.ray
def test_kills_of_a_group_of_two_workers(
    planned: Planned, tmp_path: Path, data_root: Path, chance: random.Random
) -> None:
    text = TWO.replace("epochs: 4", "epochs: 40")
    plan, file = planned(text=text), tmp_path / "groups.yaml"
    file.write_text(text)
    options = ["--checkpoint-every", 0, "--address", "local", "--data", data_root]
    stores = [FolderStore(tmp_path / "undisturbed")]
    hits: Counter[str] = Counter()
    number = itertools.count()
    with workplace() as start:
        assert start(stores[0], "run", file, *options).wait() == 0
        while hits.total() < KILLS:
            stores.append(FolderStore(tmp_path / f"store-{next(number)}"))
            begin = partial(start, stores[-1], "run", file, *options)
            hits += survive(begin, (DRIVER, ACTOR, RAYLET, RAY, GROUP), KILLS - hits.total(), chance)
    whole = histories(plan, stores[0])
    say(hits, [store.uri for store in stores[1:] if histories(plan, store) != whole])


# --- forging ----------------------------------------------------------------------------------------------------------

FORGE = """\
images: {name: cifar10, train: 1500, val: 200, test: 200}
mask: {name: box}
inpainters: [{name: telea}, {name: mean_fill}]
reals: paired
"""


def forged(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.keys("datasets/")}


def test_kills_of_forging(tmp_path: Path, data_root: Path, chance: random.Random) -> None:
    file, whole = tmp_path / "forge.yaml", FolderStore(tmp_path / "whole")
    file.write_text(FORGE)
    began = time.monotonic()
    with workplace() as start:
        assert start(whole, "forge", file, "--data", data_root).wait() == 0
    longest, hits = time.monotonic() - began, Counter[str]()
    found: list[str] = []
    number = itertools.count()
    while hits.total() < KILLS:
        store = FolderStore(tmp_path / f"store-{next(number)}")
        with workplace() as start:
            while True:
                driven = start(store, "forge", file, "--data", data_root)
                if hits.total() >= KILLS:
                    assert driven.wait() == 0
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driven.process.wait(chance.uniform(longest / 3, longest))
                if driven.process.poll() is not None:
                    break
                driven.kill(DRIVER)
                assert driven.wait() < 0
                hits[DRIVER] += 1
        found += [f"{store.uri}: another set"] if forged(store) != forged(whole) else []
    say(hits, found)


# --- the storage ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until the disk is full."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return filler


@pytest.mark.parametrize("where", ["in-process", pytest.param("local", marks=pytest.mark.ray)])
def test_a_disk_that_is_full_and_freed_again(
    where: str, disk: Path, tmp_path: Path, undisturbed: Undisturbed, chance: random.Random
) -> None:
    """A full disk ends the command; sometimes the driver is killed while it is full."""
    undisturbed.whole = False
    hits: Counter[str] = Counter()
    found: list[str] = []
    number = itertools.count()
    file = sweep_file(tmp_path, FEW)
    while hits.total() < KILLS:
        store = FolderStore(disk / f"store-{next(number)}")
        with workplace() as start:
            while True:
                driven = start(store, "run", file, "--checkpoint-every", 0, "--address", where)
                if hits.total() >= KILLS:
                    assert driven.wait() == 0, driven.output_text()
                if not trains_on(driven, chance.uniform(0, 0.5)):
                    assert driven.wait() == 0, driven.output_text()
                    break
                filler = fill(disk)
                if killed := chance.random() < 0.3:
                    driven.kill(DRIVER)
                code = driven.wait()
                filler.unlink()
                if code == 0:
                    break
                hits["full disk, driver killed" if killed else "full disk"] += 1
                assert killed or "the disk is full" in driven.output_text(), driven.output_text()
        found += differences(store, undisturbed)
        shutil.rmtree(store.root)  # the next store needs its space
    say(hits, found)


LOSABLE = ("/checkpoint/", "/result/", "/trial.json", "/plans/", ".beat.json", "records.parquet")
"""Parts of the keys of objects without which a sweep is finished with the same numbers."""


def test_credentials_that_expire_and_objects_that_are_deleted(
    proxy: Proxy, tmp_path: Path, undisturbed: Undisturbed, chance: random.Random
) -> None:
    undisturbed.whole, undisturbed.objects_deleted = False, True
    hits: Counter[str] = Counter()
    found: list[str] = []
    file = sweep_file(tmp_path, FEW)
    impatient = {"SWEEPS_STORE_PATIENCE": "2", "AWS_ENDPOINT_URL": proxy.url}
    while hits.total() < KILLS:
        store = open_store(address())
        with workplace() as start:
            options = ["--checkpoint-every", 0, "--address", "in-process"]
            begin = partial(start, store, "run", file, *options, environment=impatient)
            driven, runs = begin(), 1
            while driven.process.poll() != 0:
                if driven.process.poll() is not None:
                    assert runs <= KILLS + 2, driven.output_text()
                    driven, runs = begin(), runs + 1
                if hits.total() >= KILLS:
                    driven.wait()
                    continue
                if not trains_on(driven, chance.uniform(0, 1)):
                    continue
                kind = chance.choice(("expired", "deleted", DRIVER))
                if kind == "expired":
                    proxy.fault = lambda _: Answer(400, "ExpiredToken")
                    time.sleep(chance.uniform(0.5, 6))
                    proxy.fault = lambda _: None
                elif kind == "deleted":
                    keys = [key for key in store.keys("") if any(part in key for part in LOSABLE)]
                    store.delete(chance.sample(keys, min(5, len(keys))))
                else:
                    driven.kill(DRIVER)
                    driven.wait()
                hits[kind] += 1
        again = ["run", str(file), "--store", store.uri, "--address", "in-process", "--quiet"]
        assert main(again) == 0, "what was deleted at the end is made again"
        found += differences(store, undisturbed)
    say(hits, found)
