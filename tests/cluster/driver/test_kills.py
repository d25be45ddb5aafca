"""Nothing is lost, whatever is killed: real processes, real SIGKILLs, real Ray, real images.

The command runs a sweep of twelve trials (four planned, six of a search with early stopping, two of the arm that the
search adds), or one of half that size. A process is killed at a random moment of the training, and the command runs
again until nothing is left to do. Then every number is compared with those of the same trials without kills.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.connection import address as addresses
from cluster.worker.worker import DONE, WorkerOptions, run_trial
from sweeps.cli.main import main
from sweeps.results.columns import same_numbers
from sweeps.search.arm_search import pruned_key, suggestion_key
from sweeps.search.search import stored_searches
from sweeps.spec.trial import canonical
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.cluster.driven import ACTOR, DRIVER, RAY, DriverProcess, workplace

TRIES, SEEDS, EPOCHS = 6, 2, 6
FEW_TRIES, FEW_SEEDS = 3, 1
SWEEP = f"""\
# Does a sweep survive?
name: kills
task: inpaint
base:
  data: {{name: cifar10, train: 192, val: 64, test: 64}}
  mask: {{name: lines}}
  model: {{name: partial_conv_unet, width: 8}}
  optimiser: {{name: adam, lr: 1.0e-3}}
  batch: 32
  epochs: {EPOCHS}
seeds: {SEEDS}
arms:
  - {{name: blind, set: {{model: {{name: vanilla_autoencoder, width: 8}}}}}}
search:
  space: {{optimiser.lr: {{float: [1.0e-4, 1.0e-1], log: true}}, model.width: {{choice: [4, 8]}}}}
  trials: {TRIES}
  metric: val/psnr_db
  goal: max
  early_stopping: {{name: asha, grace_epochs: 2, reduction_factor: 2.0}}
report: {{metrics: [test/psnr_db], test_epochs: [2]}}
"""

FEW = SWEEP.replace(f"  trials: {TRIES}", f"  trials: {FEW_TRIES}").replace(
    f"\nseeds: {SEEDS}", f"\nseeds: {FEW_SEEDS}"
)

Rows = list[dict[str, Any]]


@dataclass
class Undisturbed:
    """The records of trials that are not killed: each is trained once, in this process."""

    folder: Path
    data_root: Path
    known: dict[str, Rows] = field(default_factory=dict)
    whole: bool = True
    """Whether the sweep has all suggestions and seeds; if not, suggestions are only compared with themselves."""
    objects_deleted: bool = False
    """Whether results and files of checkpoints were deleted: a search has the values of its suggestions, and trains
    none of them again; a checkpoint that lacks a file is passed over."""

    @property
    def suggestions(self) -> int:
        return TRIES if self.whole else FEW_TRIES

    @property
    def seeds(self) -> int:
        return SEEDS if self.whole else FEW_SEEDS

    def rows(self, store: Store, trial_id: str) -> Rows:
        if trial_id not in self.known:
            fresh = FolderStore(self.folder)
            fresh.put(layout.trial_key(trial_id), store.get(layout.trial_key(trial_id)))
            options = WorkerOptions(fresh.uri, "kills", "run", data_root=str(self.data_root), test_epochs=(2,))
            assert run_trial(options, trial_id, EPOCHS, 0, lambda row: None) == DONE
            self.known[trial_id] = result_rows(fresh, trial_id)
        return self.known[trial_id]


def result_rows(store: Store, trial_id: str) -> Rows:
    """The records of a result, without machine-dependent columns; empty if there is no result."""
    result = layout.get_json(store, layout.result_key(trial_id, EPOCHS))
    columns = result["history"] if result else {}
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [same_numbers({name: value for name, value in row.items() if value is not None}) for row in rows]


def differences(store: Store, undisturbed: Undisturbed) -> list[str]:
    """All differences between a finished sweep and one that was never killed."""
    plan = stored_plans.newest_plan(store, "kills")
    assert plan is not None
    planned = [trial["id"] for arm in plan["arms"] for trial in arm["trials"].values()]
    found = [] if len(set(planned)) == len(planned) == 3 * undisturbed.seeds else [f"planned are {planned}"]
    for trial_id in planned:
        if store.children(f"trials/{trial_id}/result") != [f"{EPOCHS}.json"]:
            found.append(f"{trial_id}: not exactly one result")
        rows = result_rows(store, trial_id)
        if [row["epoch"] for row in rows] != list(range(1, EPOCHS + 1)):
            found.append(f"{trial_id}: epochs {[row['epoch'] for row in rows]}")
        if rows != undisturbed.rows(store, trial_id):
            found.append(f"{trial_id}: other numbers than undisturbed")
    tried = _tried(store)
    if set(store.children("trials")) != set(planned) | set(tried.values()):
        found.append("a trial that neither the plan nor the search knows, or the other way round")
    return found + _in_search(store, undisturbed, tried) + _in_attempts(store, undisturbed.objects_deleted)


def _tried(store: Store) -> dict[int, str]:
    """The trial of each suggestion of the search."""
    asks = stored_searches(store, "kills")["base"].asks()
    return {ask.number: layout.get_json(store, suggestion_key("kills", "base", ask.number))["100"] for ask in asks}


def _in_search(store: Store, undisturbed: Undisturbed, tried: dict[int, str]) -> list[str]:
    """Every suggestion is requested once and settled once; pruned ones are marked as such and never as complete."""
    search = stored_searches(store, "kills")["base"]
    asks = search.asks()
    complete = len(asks) == undisturbed.suggestions and search.done
    found = [] if complete else [f"{len(asks)} suggestions, done: {search.done}"]
    if len({canonical(ask.overrides) for ask in asks}) != len(asks) or len(set(tried.values())) != len(asks):
        found.append("a suggestion was repeated")
    for ask in asks:
        trial_id = tried[ask.number]
        rows = result_rows(store, trial_id)
        mark = layout.get_json(store, pruned_key("kills", trial_id))
        deleted = undisturbed.objects_deleted and ask.state == "complete" and not rows
        whole = undisturbed.rows(store, trial_id) if undisturbed.whole or deleted else rows or _as_marked(mark)
        if ask.state == "complete":
            rows = rows or (whole if deleted else [])
            if mark is not None or rows != whole or ask.values != (whole[-1]["val/psnr_db"],):
                found.append(f"suggestion {ask.number} is complete: marked {mark is not None}, value {ask.values}")
        elif ask.state == "pruned":
            curve = [[row["epoch"], row["val/psnr_db"]] for row in whole]
            if mark is None or rows or mark["curve"] != curve[: len(mark["curve"])] or len(mark["curve"]) == EPOCHS:
                found.append(f"suggestion {ask.number} is pruned: mark {mark}, {len(rows)} rows in a result")
        else:
            found.append(f"suggestion {ask.number} is {ask.state}")
    return found


def _as_marked(mark: dict[str, Any] | None) -> Rows:
    """A pruned trial's records from its mark, with epochs numbered from 1."""
    curve = mark["curve"] if mark else []
    return [{"epoch": epoch, "val/psnr_db": value} for epoch, (_, value) in enumerate(curve, 1)]


def _in_attempts(store: Store, objects_deleted: bool) -> list[str]:
    """Attempts count up without a gap; unless objects were deleted, checkpoints are whole, with all epochs."""
    found = []
    for trial_id in store.children("trials"):
        numbers = stored_attempts.attempt_numbers(store, trial_id)
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{trial_id}: attempts {numbers}")
        for name, epoch in checkpoints.checkpoints(store, trial_id) if not objects_deleted else ():
            checkpoint = checkpoints.latest_checkpoint(store, trial_id, epoch)
            if checkpoint is None or checkpoint.damaged:
                found.append(f"{trial_id}: checkpoint {name}/{epoch} is damaged")
            history = checkpoints.history_at(store, trial_id, name, epoch)
            if [row["epoch"] for row in history] != list(range(1, epoch + 1)):
                found.append(f"{trial_id}: checkpoint {name}/{epoch} has epochs {[row['epoch'] for row in history]}")
    return found


def survive(
    start: Callable[..., DriverProcess],
    store: Store,
    file: Path,
    kinds: list[str],
    chance: random.Random,
    wait_s: float,
    address: str = addresses.LOCAL,
    finish: Callable[[], int] | None = None,
) -> Counter[str]:
    """Run the sweep to its end, killing one thing after another. Returns the kills that hit training.

    Each kill comes up to `wait_s` seconds after this run of the command has finished an epoch. After the driver's
    death the next run starts at once, while actors of the dead one are alive. address: of the Ray to train on. finish:
    runs the rest instead of the command when nothing is left to kill; returns its exit code.
    """
    hits: Counter[str] = Counter()
    waiting = list(kinds)
    while True:
        if finish is not None and not waiting:
            assert finish() == 0
            return hits
        driven = start(store, "run", file, "--checkpoint-every", 0, "--address", address)
        killed: list[str] = []
        while waiting and set(killed) <= {ACTOR} and _trains_on(driven, chance.uniform(0, wait_s)):
            # A trial fails after three deaths of its process in one run, so at most two actors are killed per run.
            kind = next((kind for kind in waiting if kind != ACTOR or len(killed) < 2), DRIVER)
            if driven.kill(kind, chance.choice):
                hits[kind] += 1
                killed.append(kind)
                if kind in waiting:
                    waiting.remove(kind)
        code = driven.wait()
        if code == 0:
            return hits
        assert not set(killed) <= {ACTOR}, (
            f"it ended with {code} though nobody touched the driver:\n{driven.output_text()}"
        )


def _trains_on(driven: DriverProcess, seconds: float) -> bool:
    """Wait until another epoch is finished, and then some time. False if the command has ended."""
    before = driven.new_epochs()
    if not driven.until(lambda: driven.new_epochs() - before):
        return False
    time.sleep(seconds)
    return driven.process.poll() is None


def say(hits: Counter[str], found: list[str], seed: int) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(hits.items()))
    print(f"kills that hit training: {hits.total()} ({kinds}); differences found: {len(found)}; seed {seed}")


@pytest.fixture
def undisturbed(tmp_path: Path, data_root: Path) -> Undisturbed:
    return Undisturbed(tmp_path / "undisturbed", data_root)


def sweep_file(tmp_path: Path, text: str = SWEEP) -> Path:
    file = tmp_path / "kills.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("what", [pytest.param(RAY, marks=pytest.mark.slow), DRIVER])
def test_a_kill_loses_nothing(tmp_path: Path, undisturbed: Undisturbed, ray_address: str, what: str) -> None:
    """Kill all of the command's own Ray, or the driver on the shared Ray; this process then finishes the sweep.

    Its own Ray takes a minute to start and to be missed. `test_own_ray.py` starts one in every run of the tests, and
    `test_faults.py` kills a node.
    """
    store, seed = FolderStore(tmp_path / "store"), random.randrange(2**31)
    file = sweep_file(tmp_path, FEW)
    undisturbed.whole = False

    def finish() -> int:
        return main(["run", str(file), "--store", store.uri, "--address", "in-process", "--checkpoint-every", "0"])

    with workplace() as start:
        address = addresses.LOCAL if what == RAY else ray_address
        hits = survive(start, store, file, [what], random.Random(seed), 0.5, address, finish)
    found = differences(store, undisturbed)
    say(hits, found, seed)
    assert found == []
    assert hits == Counter({what: 1})
    _change_one_bit(store)
    assert len(differences(store, undisturbed)) == 1, "the comparison can fail"


def _change_one_bit(store: Store) -> None:
    """Change one number in the middle of a planned trial's history by one bit."""
    plan = stored_plans.newest_plan(store, "kills")
    assert plan is not None
    key = layout.result_key(plan["arms"][0]["trials"]["0"]["id"], EPOCHS)
    result = layout.get_json(store, key)
    losses = result["history"]["train/loss"]
    losses[2] = math.nextafter(losses[2], math.inf)
    store.put(key, layout.dump(result))


@pytest.mark.ray
@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path: Path, undisturbed: Undisturbed) -> None:
    seed = random.randrange(2**31)
    chance = random.Random(seed)
    hits: Counter[str] = Counter()
    found: list[str] = []
    text = SWEEP.replace("train: 192", "train: 512")
    for number in itertools.count():
        if hits.total() >= 20:
            break
        kinds = chance.sample([DRIVER, ACTOR, RAY, DRIVER, ACTOR, RAY], 5)
        store = FolderStore(tmp_path / f"store-{number}")
        with workplace() as start:
            hits += survive(start, store, sweep_file(tmp_path, text), kinds, chance, wait_s=5.0)
        new = differences(store, undisturbed)
        found += [f"sweep {number}: {one}" for one in new]
        print(
            f"sweep {number} after {', '.join(kinds)}: {hits.total()} kills so far, {len(found)} differences",
            flush=True,
        )
    say(hits, found, seed)
    assert found == []
