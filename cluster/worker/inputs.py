"""What a trial reads that others made, brought to where it is trained: forged sets, outputs and networks of trials.

A store in a folder is read in place. From S3 things are copied once into `~/.cache/inpaint-sweeps/inputs` (or below
`$XDG_CACHE_HOME`), under a temporary name first: who finds a folder there finds all of it. Only `sweeps run` forges; a
worker that finds a set unfinished says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.worker.finished_trial import newest_result, read
from sweeps.errors import SweepError
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from trainables import schema
from trainables.config.sections import Needs
from trainables.inpaint import config as inpaint_config
from trainables.training.session import Machine

DONE = "done.json"
OUTPUTS = "outputs.npz"
IN_MEMORY = 8
"""Objects of a set that are fetched side by side."""


def with_inputs(machine: Machine, store: Store, trial: Mapping[str, Any], epochs: int) -> Machine:
    """The machine with what a stored trial needs. SweepError where the store does not have it whole."""
    needs = schema.needs(trial["task"], {**trial["config"], "epochs": epochs}, trial["seed"])
    if needs == Needs():
        return machine
    networks = {trial_id: read(store, trial_id, "whose network is used") for trial_id in needs.networks}
    return replace(
        machine,
        forged={set_id: forged_folder(store, set_id) for set_id in needs.forged},
        outputs={trial_id: outputs_file(store, trial_id) for trial_id in needs.trials},
        networks={trial_id: (trained.config, trained.weights) for trial_id, trained in networks.items()},
    )


def check(plan: Plan, store: Store) -> None:
    """Raise TrialError where an arm names a trial whose network it cannot use: before anything runs."""
    for arm in plan.arms:
        asked = schema.needs(arm.task, arm.config, 0).networks if arm.task == "inpaint" else ()
        bodies = {trial_id: layout.get_json(store, layout.trial_key(trial_id)) for trial_id in asked}
        known = {trial_id: body["config"] for trial_id, body in bodies.items() if body is not None}
        inpaint_config.check_networks(arm.config, known)  # a trial that the store lacks is told of when it is read


def set_key(set_id: str, *parts: str) -> str:
    return "/".join(["datasets", set_id, *parts])


def forged_folder(store: Store, set_id: str) -> Path:
    """The folder of a finished forged set on this machine."""
    done = store.get_many([set_key(set_id, DONE)]).get(set_key(set_id, DONE))
    if done is None:
        raise SweepError(
            f"forged set {set_id}",
            f"the store {store.uri} does not have it whole: forging was ended early, or never began",
            "a set that is finished before trials begin",
            "sweeps run FILE or sweeps forge FILE, which go on where it was",
        )
    if isinstance(store, FolderStore):
        return store.root / "datasets" / set_id
    folder = _cache(store) / "datasets" / set_id
    if _is_copy(folder, done):
        return folder

    def fetch(temporary: Path) -> None:
        prefix = set_key(set_id, "")
        keys = list(store.keys(prefix))
        for few in (keys[i : i + IN_MEMORY] for i in range(0, len(keys), IN_MEMORY)):
            found = store.get_many(few)
            for key in few:
                if key not in found:
                    raise SweepError(f"object {key!r}", "it went away meanwhile", "a whole set", "sweeps run FILE")
                path = temporary / key.removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(found[key])

    if folder.exists():  # another set under this id, of a store that was emptied and filled anew
        shutil.rmtree(folder)
    _place(folder, fetch, lambda: _is_copy(folder, done))
    return folder


def outputs_file(store: Store, trial_id: str) -> Path:
    """What a finished trial has recorded beside its last samples."""
    result = newest_result(store, trial_id, "whose outputs are read")
    epoch = int(result["history"]["epoch"][-1])
    key = f"trials/{trial_id}/samples/{result['attempt']}/{epoch}/{OUTPUTS}"
    if isinstance(store, FolderStore):
        path = store.root / key
    else:
        path = _cache(store) / key
        data = {} if path.is_file() else store.get_many([key])
        if key in data:
            _place(path, lambda temporary: (temporary / OUTPUTS).write_bytes(data[key]), path.is_file, OUTPUTS)
    if not path.is_file():
        raise SweepError(
            f"trial {trial_id!r}, whose outputs are read",
            f"it has recorded none: there is no object {key!r}",
            "a detector that was trained by one process of this version",
            "sweeps run FILE --fresh of the sweep that it belongs to",
        )
    return path


def _cache(store: Store) -> Path:
    """Two stores may have different things under the same id: each has a folder of its own."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "inpaint-sweeps" / "inputs" / hashlib.sha256(store.uri.encode()).hexdigest()[:16]


def _is_copy(folder: Path, done: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (folder / DONE).read_bytes() == done
    return False


def _place(target: Path, fetch: Callable[[Path], Any], is_there: Callable[[], bool], name: str = "") -> None:
    """Fetch into a folder beside the target and rename it, or the file `name` in it, to the target."""
    temporary = target.with_name(f".fetching-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        fetch(temporary)
        (temporary / name).rename(target)
    except OSError as error:
        if not is_there():  # else another process on this machine was faster
            raise SweepError(
                f"the cache {target.parent}",
                f"it cannot be written: {error}",
                "a folder with room that this user may write to",
                "free some space, or set XDG_CACHE_HOME to another disk",
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
