"""Checks, where a trial runs, that it reads the data that its sweep was planned with."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.worker import inputs
from sweeps.errors import SweepError
from sweeps.results import data_versions
from sweeps.store import layout
from sweeps.store.base import Store
from trainables import schema
from trainables.data import loaded
from trainables.data.fingerprints import Fingerprint, fingerprints
from trainables.forgery import forged_index
from trainables.training.session import Machine

_read_before: dict[tuple[Path | None, str], str] = {}
"""The digest of each path that trials of this process have read."""


def forged_set_name(set_id: str) -> str:
    """What takes the place of a path for a forged set."""
    return f"forged set {set_id}"


def forged_set(body: bytes, set_id: str) -> Fingerprint:
    """The fingerprint of a finished forged set. body: its `done.json`."""
    key = inputs.set_key(set_id, inputs.DONE)
    done = layout.load(key, body)
    if why := forged_index.wrong_in_done(done):
        raise layout.damaged(key, why)
    return Fingerprint(
        forged_set_name(set_id), {name: (each["bytes"], each["sha256"]) for name, each in done["shards"].items()}
    )


@dataclass(frozen=True)
class ExpectedData:
    """What the trials of a sweep must read."""

    sweep: str
    digests: Mapping[str, str] = field(default_factory=dict)
    """By path; for other paths, what the sweep has used before."""
    any_accepted: bool = False
    """Whether trials may read other data."""


def check(store: Store, planned: ExpectedData, trial: Mapping[str, Any], machine: Machine) -> dict[str, str]:
    """The digests of the data that a trial is about to read, by path.

    The first trial of a sweep that reads a path decides what the others must read, unless the driver has done so.
    SweepError if this machine has other data under a path.
    """
    found = fingerprints(schema.data_paths(trial["task"], trial["config"]), machine.data_root)
    for set_id, folder in machine.forged.items():
        whole = forged_set((folder / "done.json").read_bytes(), set_id)
        found[whole.path] = whole
    expected = dict(planned.digests)
    if any(path not in expected for path in found):
        expected = {path: digests[-1] for path, digests in data_versions.used(store, planned.sweep).items()} | expected
    for path, one in found.items():
        if expected.get(path) == one.digest:
            continue
        data_versions.store_files(store, path, one.digest, one.files)
        if path in expected and not planned.any_accepted:
            raise _other_data_error(store, one, expected[path], machine.data_root)
        key = data_versions.use(store, planned.sweep, path, one.digest)
        first = data_versions.used(store, planned.sweep)[path][0]
        if first != one.digest and not planned.any_accepted:  # another node has decided it at the same time
            store.delete([key])
            raise _other_data_error(store, one, first, machine.data_root)
    _forget_if_changed(found.values(), machine.data_root)
    return {path: one.digest for path, one in found.items()}


def _other_data_error(store: Store, found: Fingerprint, expected: str, root: Path | None) -> SweepError:
    return SweepError(
        f"data {found.path} on {socket.gethostname()}, below {root or 'the cache of the user'}",
        "its files are not those that the other trials of the sweep read: "
        f"{data_versions.difference(store, expected, found.digest)}",
        "the same files under the same path on every machine, and while a sweep runs",
        "copy the files to this machine, then sweeps run FILE --retry; "
        "or --accept-changed-data, which trains on them, and the report says so",
    )


def _forget_if_changed(found: Iterable[Fingerprint], root: Path | None) -> None:
    """Forget the images, masks and captions that this process has loaded if their files have changed since."""
    changed = [one for one in found if _read_before.get((root, one.path), one.digest) != one.digest]
    if changed:
        loaded.forget()
    _read_before.update({(root, one.path): one.digest for one in found})
