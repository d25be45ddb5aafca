"""Forged sets made in a store, shard by shard: what trials need before they begin, and `sweeps forge`.

A shard's bytes are a function of the block, so who is killed goes on with the shards that are missing, and two drivers
need no lease: each begins at a place of its own and looks before it makes a shard, so they share the work, and one that
both make is the same. Where machines differ so much that it is not (a network on a CPU and on a GPU), the first one's
stays; see `_keep`. `done.json` comes last, and what it says is read from what is in the store.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster.worker import finished_trial
from cluster.worker.inputs import DONE, set_key
from sweeps.store import layout
from sweeps.store.base import Store
from trainables import schema
from trainables.forgery import config as forgery_config

if TYPE_CHECKING:
    from cluster.driver.driver import Work
    from trainables.forgery.shards import Shard
    from trainables.inpaint.inference import Trained

OTHER_S = 20.0
"""Seconds that another driver may take between the two files of a shard."""


def prepare(work: Work, store: Store, data_root: str | None, quiet: bool) -> None:
    """Make the forged sets that trials which are left need, one after the other."""
    for resolved in needed(work).values():
        ensure(store, resolved, Path(data_root) if data_root else None, quiet)


def needed(work: Work) -> dict[str, Mapping[str, Any]]:
    """The blocks of the sets that the jobs and searches of a plan read, by id."""
    wanted = {job.trial_id for job in work.jobs}
    asked = [(arm, seed) for arm in work.plan.arms for seed, trial in arm.trials.items() if trial.id in wanted]
    asked += [(tuning.arm, seed) for tuning in work.searches for seed in tuning.spec.tune_seeds]
    found: dict[str, Mapping[str, Any]] = {}
    for arm, seed in asked:
        found |= schema.needs(arm.task, arm.config, seed).forged
    return found


def ensure(store: Store, resolved: Mapping[str, Any], data_root: Path | None, quiet: bool = False) -> str:
    """Make what the store lacks of a set; its id. On the GPU where there is one.

    SweepError where an inpainter has not finished, TrialError where it does not fit or images are missing.
    """
    from trainables.forgery import shards as forged_shards

    set_id = forgery_config.forged_id(resolved)
    if store.exists_many([set_key(set_id, DONE)]):
        return set_id
    networks = _trained(store, resolved)
    shards = forged_shards.plan_shards(resolved, data_root)
    store.create(set_key(set_id, "config.json"), layout.dump(dict(resolved)))
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    marks = {set_key(set_id, shard.files[-1]): shard for shard in shards}
    with _progress(f"forging {set_id}", shards[0].of, quiet) as advance:
        there = store.exists_many(marks)
        advance(sum(_photographs(marks[key]) for key in there))
        for key in _order([key for key in marks if key not in there]):
            shard = marks[key]
            if not store.exists_many([key]):  # another driver may be at the same set
                made = forged_shards.make_shard(resolved, shard, data_root, networks, device(), threads)
                _keep(store, set_key(set_id, shard.files[0]), made[shard.files[0]], key, made[shard.files[-1]])
            advance(_photographs(shard))
    indices = store.get_many(marks)
    found = {shard.name: indices[key] for key, shard in marks.items()}
    for name, data in forged_shards.finish(resolved, shards, found).items():
        store.create(set_key(set_id, name), data)
    return set_id


def _keep(store: Store, tar_key: str, tar: bytes, index_key: str, index: bytes) -> None:
    """Write a shard, its index last. A tar without one is of a driver that was killed, or is about to write it."""
    if not store.create(tar_key, tar) and store.get(tar_key) != tar:
        deadline = time.monotonic() + OTHER_S
        while time.monotonic() < deadline:
            if store.exists_many([index_key]):
                return
            time.sleep(0.5)
        store.put(tar_key, tar)
    store.create(index_key, index)


def _photographs(shard: Shard) -> int:
    return shard.stop - shard.start


def device() -> str:
    """The GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _progress(words: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A line on standard error, told how many photographs are through; without a terminal it comes at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as progress:
        task = progress.add_task(words, total=total)
        yield lambda count: progress.advance(task, count)


def _order(keys: list[str]) -> list[str]:
    """From a place of this process's own on, round."""
    begin = random.SystemRandom().randrange(len(keys)) if keys else 0
    return keys[begin:] + keys[:begin]


def _trained(store: Store, resolved: Mapping[str, Any]) -> Trained:
    """Configuration and weights of the trained inpainters of a block, by trial; checked before anything is written.

    SweepError where one has not finished, TrialError where it does not fit the block.
    """
    from trainables.inpaint import inference

    finished = [
        finished_trial.read(store, trial, "which is to inpaint") for trial in forgery_config.forge_needs(resolved)
    ]
    found: Trained = {one.trial_id: (one.config, one.weights) for one in finished}
    inference.load(resolved["inpainters"], resolved["images"]["size"], resolved["mask"], found)
    return found
