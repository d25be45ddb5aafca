"""Makes the inputs of a trial available on its machine: forged sets, and outputs and networks of other trials.

A store in a folder is read in place. Inputs from S3 are copied once into `~/.cache/inpaint-sweeps/inputs` (or below
`$XDG_CACHE_HOME`), under a temporary name first, so that a folder there is always complete. Workers never forge: an
unfinished set is an error.
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
from cluster.worker.user_code import bring_code
from sweeps.errors import StorageError, SweepError
from sweeps.spec.plan import Plan
from sweeps.store import layout, listing
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from trainables import schema
from trainables.config.sections import Needs
from trainables.inpaint import config as inpaint_config
from trainables.training.session import Machine

DONE = "done.json"
MADE_FROM = "data.json"
"""The digests of the folders and files that a forged set is made from, by path."""
OUTPUTS = "outputs.npz"
IN_MEMORY = 8
"""Number of objects of a set that are fetched, and held in memory, at once."""


def with_inputs(machine: Machine, store: Store, trial: Mapping[str, Any], epochs: int) -> Machine:
    """The machine with the inputs of a stored trial. SweepError if the store does not have all of them."""
    needs = schema.needs(trial["task"], {**trial["config"], "epochs": epochs}, trial["seed"])
    if needs == Needs():
        return machine
    bring_code(store, needs.code)
    networks = {trial_id: read(store, trial_id, "whose network is used") for trial_id in needs.networks}
    return replace(
        machine,
        forged={set_id: forged_folder(store, set_id) for set_id in needs.forged},
        outputs={trial_id: outputs_file(store, trial_id) for trial_id in needs.trials},
        networks={trial_id: (trained.config, trained.weights) for trial_id, trained in networks.items()},
    )


def check(plan: Plan, store: Store) -> None:
    """Raise TrialError, before anything runs, if an arm names a trial whose network it cannot use."""
    for arm in plan.arms:
        if arm.task != "inpaint":
            continue
        network_ids = schema.needs(arm.task, arm.config, 0).networks
        bodies = {trial_id: layout.get_json(store, layout.trial_key(trial_id)) for trial_id in network_ids}
        for body in filter(None, bodies.values()):
            bring_code(store, schema.code_of(body["task"], body["config"]))
        known = {trial_id: body["config"] for trial_id, body in bodies.items() if body is not None}
        inpaint_config.check_networks(arm.config, known)  # missing trials are reported when they are read


def set_key(set_id: str, *parts: str) -> str:
    return layout.join("datasets", set_id, *(name for part in parts for name in part.split("/")))


def forged_folder(store: Store, set_id: str) -> Path:
    """The folder of a finished forged set on this machine."""
    done = store.get_many([set_key(set_id, DONE)]).get(set_key(set_id, DONE))
    if done is None:
        raise SweepError(
            f"forged set {set_id}",
            f"it is not complete in the store {store.uri}: forging was interrupted or has not started",
            "a complete set",
            "sweeps run FILE or sweeps forge FILE, which make the missing part",
        )
    if isinstance(store, FolderStore):
        return store.path(set_key(set_id))
    folder = _cache(store) / "datasets" / set_id
    if _is_copy(folder, done):
        return folder

    def fetch(temporary: Path) -> None:
        prefix = set_key(set_id) + "/"
        keys = listing.keys(store, prefix)
        for few in (keys[i : i + IN_MEMORY] for i in range(0, len(keys), IN_MEMORY)):
            objects = store.get_many(few)
            for key in few:
                if key not in objects:
                    raise SweepError(f"object {key!r}", "it was deleted meanwhile", "a complete set", "sweeps run FILE")
                path = temporary / key.removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(objects[key])

    if folder.exists():  # a set with the same id, from before the store was emptied and refilled
        shutil.rmtree(folder)
    _place(folder, fetch, lambda: _is_copy(folder, done))
    return folder


def outputs_file(store: Store, trial_id: str) -> Path:
    """Path of the outputs that a finished trial stored with its last samples."""
    result = newest_result(store, trial_id, "whose outputs are read")
    epoch = int(result["history"]["epoch"][-1])
    key = layout.join("trials", trial_id, "samples", result["attempt"], epoch, OUTPUTS)
    if isinstance(store, FolderStore):
        path = store.path(key)
    else:
        path = _cache(store) / key
        data = {} if path.is_file() else store.get_many([key])
        if key in data:
            _place(path, lambda temporary: (temporary / OUTPUTS).write_bytes(data[key]), path.is_file, OUTPUTS)
    if not path.is_file():
        raise SweepError(
            f"trial {trial_id!r}, whose outputs are read",
            f"it has no stored outputs: there is no object {key!r}",
            "a detector that was trained in a single process by this version",
            "sweeps run FILE --fresh with the file of its sweep",
        )
    return path


def _cache(store: Store) -> Path:
    """A store's own cache folder, because two stores may have different objects under the same id."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "inpaint-sweeps" / "inputs" / hashlib.sha256(store.uri.encode()).hexdigest()[:16]


def _is_copy(folder: Path, done: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (folder / DONE).read_bytes() == done
    return False


def _place(target: Path, fetch: Callable[[Path], Any], is_there: Callable[[], bool], name: str = "") -> None:
    """Fetch into a temporary folder next to the target, then rename it, or the file `name` in it, to the target."""
    temporary = target.with_name(f".fetching-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        fetch(temporary)
        (temporary / name).rename(target)
    except OSError as error:
        if not is_there():  # otherwise another process on this machine was faster
            raise StorageError(
                f"the cache {target.parent}",
                f"it cannot be written: {error}",
                "a writable folder with free space",
                "free some space, or set XDG_CACHE_HOME to a folder on another disk",
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
