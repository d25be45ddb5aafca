"""Makes forged sets in a store, shard by shard, for trials that need them and for `sweeps forge`.

The bytes of a shard depend only on the configuration block, so an interrupted run continues with the missing shards.
Two drivers need no lease: each starts at a random shard and checks the store before it makes one, so they share the
work, and a shard that both make has the same bytes. Where they differ (the same network on a CPU and on a GPU), the
first shard is kept; see `_keep`. `done.json` is written last, from the shards in the store.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster.worker import finished_trial
from cluster.worker.inputs import DONE, MADE_FROM, set_key
from sweeps.errors import SweepError
from sweeps.results import data_versions
from sweeps.store import layout, listing
from sweeps.store.base import Store
from trainables import schema
from trainables.config import data_paths
from trainables.cpus import usable_cpus
from trainables.data.fingerprints import fingerprints
from trainables.forgery import config as forgery_config
from trainables.forgery import forged_index
from trainables.training.session import available_device

if TYPE_CHECKING:
    from cluster.driver.pending_work import PendingWork
    from trainables.forgery.shards import Shard
    from trainables.inpaint.inference import LoadTrained

OTHER_S = 20.0
"""Seconds that another driver may take between writing the two files of a shard."""


def prepare(work: PendingWork, store: Store, data_root: Path | None, quiet: bool) -> None:
    """Make the forged sets that the remaining trials need, one after the other."""
    for resolved in needed(work).values():
        ensure(store, resolved, data_root, quiet)


def needed(work: PendingWork) -> dict[str, Mapping[str, Any]]:
    """The configuration blocks of the forged sets that the remaining trials read, by id."""
    wanted = {job.trial_id for job in work.jobs}
    runs = [(arm, seed) for arm in work.plan.arms for seed, trial in arm.trials.items() if trial.id in wanted]
    runs += [(tuning.arm, seed) for tuning in work.searches for seed in tuning.spec.tune_seeds]
    blocks: dict[str, Mapping[str, Any]] = {}
    for arm, seed in runs:
        blocks |= schema.needs(arm.task, arm.config, seed).forged
    return blocks


def ensure(store: Store, resolved: Mapping[str, Any], data_root: Path | None, quiet: bool = False) -> str:
    """Make the shards of a set that the store lacks and return the set's id. Uses the GPU if there is one.

    SweepError if an inpainter has not finished; TrialError if it does not fit the block or images are missing.
    """
    from trainables.forgery import shards as forged_shards

    set_id = forgery_config.forged_id(resolved)
    if _is_complete(store, set_id):
        return set_id
    networks = _trained(store, resolved)
    shards = forged_shards.plan_shards(resolved, data_root)
    config = json.dumps(dict(resolved), ensure_ascii=False, separators=(",", ":"))
    store.create(set_key(set_id, "config.json"), config.encode())
    _check_photographs(store, set_id, resolved, data_root)
    threads = usable_cpus()
    shard_of = {set_key(set_id, shard.files[-1]): shard for shard in shards}
    with _progress(f"forging {set_id}", shards[0].of, quiet) as advance:
        existing = _existing(store, set_id, shards)
        advance(sum(_photographs(shard_of[key]) for key in existing))
        for key in _order([key for key in shard_of if key not in existing]):
            shard = shard_of[key]
            if key not in _existing(store, set_id, [shard]):  # another driver may be making the same set
                made = forged_shards.make_shard(resolved, shard, data_root, networks, available_device(), threads)
                index = layout.with_checksum(made[shard.files[-1]])
                _keep(store, set_key(set_id, shard.files[0]), made[shard.files[0]], key, index)
            advance(_photographs(shard))
    indices = store.get_many(shard_of)
    index_of = {shard.name: layout.load(key, indices[key]) for key, shard in shard_of.items()}
    files = {set_key(set_id, name): data for name, data in forged_shards.finish(resolved, shards, index_of).items()}
    files[set_key(set_id, DONE)] = layout.with_checksum(files[set_key(set_id, DONE)])
    for key, data in files.items():
        if not store.create(key, data) and store.get(key) != data:  # damaged, or of a shard that was made again
            store.put(key, data)
    return set_id


def _is_complete(store: Store, set_id: str) -> bool:
    """Whether a set has all of its files, and a `done.json` that is not damaged."""
    try:
        done = read_done(store, set_id)
    except KeyError:
        return False
    except layout.DamagedError as error:
        layout.report_damage(error)
        return False
    files = [f"shards/{name}{suffix}" for name in done["shards"] for suffix in (".tar", ".json")]
    keys = [set_key(set_id, name) for name in ("index.json", *files)]
    return len(store.exists_many(keys)) == len(keys)


def make_again(store: Store, resolved: Mapping[str, Any], data_root: Path | None, quiet: bool) -> None:
    """Make a set from the present files in place of one that was made from others."""
    _trained(store, resolved)  # raises an error before anything is deleted
    set_id = forgery_config.forged_id(resolved)
    store.delete([set_key(set_id, DONE)])  # first, so that nobody takes what is left for a set
    store.delete(listing.keys(store, set_key(set_id) + "/"))
    ensure(store, resolved, data_root, quiet)


def read_done(store: Store, set_id: str) -> dict[str, Any]:
    """The `done.json` of a set. KeyError if there is none, DamagedError if it is damaged."""
    key = set_key(set_id, DONE)
    return _checked(
        key, store.get(key), lambda done: forged_index.wrong_in_done(done) or forged_index.wrong_in_summary(done)
    )


def _checked(key: str, data: bytes, wrong: Callable[[Any], str]) -> dict[str, Any]:
    """A JSON file of a set. DamagedError if its checksum is wrong, or its content, of which `wrong` says why."""
    fix = "sweeps forge FILE, or sweeps run FILE, writes it again"
    try:
        value: dict[str, Any] = layout.load(key, data)
    except layout.DamagedError as error:
        raise layout.DamagedError(error.given, error.why, error.allowed, fix) from None
    if why := wrong(value):
        raise layout.DamagedError(f"object {key!r}", f"it is damaged ({why})", "a file of a forged set", fix)
    return value


def _existing(store: Store, set_id: str, shards: Sequence[Shard]) -> set[str]:
    """The keys of the intact indices of shards that the store has with their images."""
    keys = {set_key(set_id, shard.files[-1]): set_key(set_id, shard.files[0]) for shard in shards}
    images = store.exists_many(keys.values())
    found = store.get_many(key for key, of_images in keys.items() if of_images in images)
    return {key for key, data in found.items() if _is_intact(key, data)}


def _is_intact(key: str, data: bytes) -> bool:
    """Whether the index of a shard is not damaged; it is reported if it is."""
    try:
        _checked(key, data, forged_index.wrong_in_shard)
    except layout.DamagedError as error:
        layout.report_damage(error)
        return False
    return True


def _check_photographs(store: Store, set_id: str, resolved: Mapping[str, Any], data_root: Path | None) -> None:
    """Raise SweepError if the files that a set is made from have changed since its first shard was made."""
    found = fingerprints(data_paths.of_forged(resolved), data_root)
    key = set_key(set_id, MADE_FROM)
    for path, one in found.items():
        data_versions.store_files(store, path, one.digest, one.files)
    if store.create(key, layout.dump({path: one.digest for path, one in found.items()})):
        return
    before = layout.get_json(store, key) or {}
    for path, one in found.items():
        if before.get(path, one.digest) != one.digest:
            raise SweepError(
                f"data {path}, from which the forged set {set_id} is made",
                "its files have changed since a part of the set was made: "
                f"{data_versions.difference(store, before[path], one.digest)}",
                "the same files for all shards of a set",
                f"restore the files, or delete datasets/{set_id} from the store and forge the set again",
            )


def _keep(store: Store, tar_key: str, tar: bytes, index_key: str, index: bytes) -> None:
    """Write a shard, its index last. A tar without index is from a driver that was killed or is about to write it."""
    if not store.create(tar_key, tar) and store.get(tar_key) != tar:
        deadline = time.monotonic() + OTHER_S
        while time.monotonic() < deadline:
            index_now = store.get_many([index_key]).get(index_key)
            if index_now is not None and _is_intact(index_key, index_now):
                return
            time.sleep(0.5)
        store.put(tar_key, tar)
    if not store.create(index_key, index) and not _is_intact(index_key, store.get(index_key)):
        store.put(index_key, index)


def _photographs(shard: Shard) -> int:
    return shard.stop - shard.start


@contextlib.contextmanager
def _progress(description: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error that counts photographs; without a terminal it is printed at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)


def _order(keys: list[str]) -> list[str]:
    """The keys in order, starting at a random one and wrapping around."""
    begin = random.SystemRandom().randrange(len(keys)) if keys else 0
    return keys[begin:] + keys[:begin]


def _trained(store: Store, resolved: Mapping[str, Any]) -> LoadTrained:
    """Configuration and weights of a block's trained inpainters, by trial; checked before anything is written.

    SweepError if one has not finished; TrialError if it does not fit the block.
    """
    from trainables.inpaint import inference

    finished = [
        finished_trial.read(store, trial, "needed as an inpainter") for trial in forgery_config.forge_needs(resolved)
    ]
    networks: LoadTrained = {trial.trial_id: (trial.config, trial.weights) for trial in finished}
    inference.load(resolved, networks)
    return networks
