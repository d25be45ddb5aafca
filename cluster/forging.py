"""Forged sets made in a store, shard by shard: what trials need before they begin, and `sweeps forge`.

A shard's bytes are a function of the block, so it is one object that is created once and never changed: who is killed
goes on with the shards that are missing. Two drivers need no lease either. Each begins at a place of its own and
looks before it makes a shard, so they share the work; a shard that both make is the same. `done.json` comes last, and
what it says is read from the shards that are in the store.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster import trained
from cluster.inputs import DONE, set_key
from sweeps import ledger
from sweeps.errors import SweepError
from sweeps.store import Store
from trainables import schema
from trainables.session import Machine

if TYPE_CHECKING:
    from trainables.data.forging import Networks

    from cluster.drive import Work


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

    SweepError where an inpainter has not finished or is of another size, TrialError where images are missing.
    """
    from trainables import schema_forge
    from trainables.data import forging

    set_id = schema_forge.forged_id(resolved)
    if store.exists_many([set_key(set_id, DONE)]):
        return set_id
    networks = _networks(store, resolved)
    store.create(set_key(set_id, "config.json"), ledger.dump(dict(resolved)))
    machine = _machine(data_root)
    shards = forging.plan_shards(resolved, data_root)
    keys = {set_key(set_id, "shards", shard.name): shard for shard in shards}
    with _progress(f"forging {set_id}", len(keys), quiet) as advance:
        there = store.exists_many(keys)
        advance(len(there))
        for key in _order([key for key in keys if key not in there]):
            if not store.exists_many([key]):  # another driver may be at the same set
                store.create(key, forging.make_shard(keys[key], resolved, networks, machine))
            advance(1)
    for name, data in forging.finish(resolved, (forging.index_of(store.get(key)) for key in keys)).items():
        if name != DONE:
            store.put(set_key(set_id, name), data)
        else:
            done = data
    store.create(set_key(set_id, DONE), done)
    return set_id


def _machine(data_root: Path | None) -> Machine:
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine("cuda" if torch.cuda.is_available() else "cpu", cpus, data_root)


@contextlib.contextmanager
def _progress(words: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A line on standard error, told how many shards are there; without a terminal it comes at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as progress:
        task = progress.add_task(words, total=total)
        yield lambda count: progress.advance(task, count)


def _order(keys: list[str]) -> list[str]:
    """From a place of this process's own on, round."""
    begin = random.SystemRandom().randrange(len(keys)) if keys else 0
    return keys[begin:] + keys[:begin]


def _networks(store: Store, resolved: Mapping[str, Any]) -> Networks:
    """Configuration and weights of the trained inpainters, by trial."""
    from trainables import schema_forge

    size = resolved["images"]["size"]
    found = {}
    for trial_id in schema_forge.forge_needs(resolved):
        inpainter = trained.read(store, trial_id, "which is to inpaint")
        given = f"inpainters: trial {trial_id!r}"
        if inpainter.task != "inpaint":
            raise SweepError(
                given, f"its task is {inpainter.task}", "a trial of task inpaint", "the id of one, see sweeps status"
            )
        of = inpainter.config["data"]["size"]
        if of != size:
            raise SweepError(
                given,
                f"it was trained on images of {of} px, and these are of {size} px",
                f"inpainters of {size} px, or images of {of} px",
                f"images.size: {of}, or another inpainter",
            )
        found[trial_id] = (inpainter.config, inpainter.weights)
    return found
