"""Checkpoints of a trial: written whole or not at all, and read only if their checksums match."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sweeps.results.columns import SCHEMA
from sweeps.store import listing
from sweeps.store.attempts import Attempt, superseded
from sweeps.store.base import Store, never
from sweeps.store.layout import DamagedError, Json, dump, get_intact, join, load, report_damage, result_key
from sweeps.store.trials import finished_epochs


@dataclass(frozen=True)
class Checkpoint:
    """An intact checkpoint."""

    epoch: int
    files: Mapping[str, bytes]
    damaged: tuple[str, ...] = ()
    """Keys of damaged newer checkpoints that were skipped."""


def save_checkpoint(
    store: Store,
    attempt: Attempt,
    epoch: int,
    files: Mapping[str, bytes],
    abandoned: Callable[[], bool] = never,
) -> bool:
    """Write the files of a checkpoint, then its manifest. Returns False, without a manifest, if superseded.

    JSON files are part of the manifest, which saves requests. abandoned: see `Store.put`
    """
    folder = attempt.key("checkpoint", attempt.name, epoch)
    sums: dict[str, Json] = {}
    for name, data in files.items():
        sums[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if name.endswith(".json"):
            sums[name]["text"] = data.decode()
        else:
            store.put(f"{folder}/{name}", data, abandoned)
    if superseded(store, attempt):
        return False
    store.put(f"{folder}/manifest.json", dump({"schema": SCHEMA, "epoch": epoch, "files": sums}), abandoned)
    return True


def checkpoints(store: Store, trial_id: str) -> list[tuple[str, int]]:
    """(attempt name, epoch) of all checkpoints with a manifest; the last one is the one to resume from."""
    parts = [key.split("/") for key in listing.keys(store, join("trials", trial_id, "checkpoint") + "/")]
    return sorted((part[3], int(part[4])) for part in parts if part[5:] == ["manifest.json"])


def latest_checkpoint(store: Store, trial_id: str, up_to: int, first: int = 0) -> Checkpoint | None:
    """The highest intact checkpoint of the newest attempt from epoch `first` to `up_to`. Damaged ones are skipped."""
    damaged: list[str] = []
    for name, epoch in reversed(checkpoints(store, trial_id)):
        if not first <= epoch <= up_to:
            continue
        folder = join("trials", trial_id, "checkpoint", name, epoch)
        files = _read_checkpoint(store, folder)
        if files is not None:
            return Checkpoint(epoch, files, tuple(damaged))
        damaged.append(folder)
    return None


def checkpoint_history(store: Store, trial_id: str, up_to: int) -> list[Json]:
    """The records in the checkpoint from which a trial would resume; empty without one. Does not read weights."""
    for name, epoch in reversed(checkpoints(store, trial_id)):
        if epoch <= up_to:
            return history_at(store, trial_id, name, epoch)
    return []


def history_at(store: Store, trial_id: str, name: str, epoch: int) -> list[Json]:
    """The records in a checkpoint of attempt `name`; empty if it has none. Does not read weights."""
    folder = join("trials", trial_id, "checkpoint", name, epoch)
    manifest = get_intact(store, f"{folder}/manifest.json") or {"files": {}}
    listed = manifest["files"].get("history.json", {})
    text = listed.get("text")
    key = f"{folder}/history.json"
    data = store.get_many([key]).get(key, b"") if text is None else text.encode()
    if not listed or hashlib.sha256(data).hexdigest() != listed["sha256"]:
        return []
    rows = load(key, data)
    return rows if isinstance(rows, list) else []


def _read_checkpoint(store: Store, folder: str) -> dict[str, bytes] | None:
    try:
        sums = load(f"{folder}/manifest.json", store.get(f"{folder}/manifest.json"))["files"]
    except KeyError:
        return None
    except DamagedError as error:
        report_damage(error)
        return None
    stored = store.get_many(f"{folder}/{name}" for name in sums if "text" not in sums[name])
    files = {name: sum_["text"].encode() for name, sum_ in sums.items() if "text" in sum_}
    files |= {key.removeprefix(f"{folder}/"): data for key, data in stored.items()}
    intact = all(
        name in files and hashlib.sha256(files[name]).hexdigest() == sum_["sha256"] for name, sum_ in sums.items()
    )
    return files if intact else None


def drop_checkpoints(store: Store, attempt: Attempt, saved: Mapping[int, Iterable[str]]) -> None:
    """Delete checkpoints of this attempt without a listing. saved: file names by epoch."""
    keys = []
    for epoch, files in saved.items():
        objects = ["manifest.json", *(name for name in files if not name.endswith(".json"))]
        keys += [attempt.key("checkpoint", attempt.name, epoch, name) for name in objects]
    store.delete(keys)


def collect(store: Store, trial_id: str) -> int:
    """Delete checkpoints that are no longer needed. Returns how many were deleted.

    A finished trial keeps the checkpoint of its highest target epoch, an unfinished one the newest two.
    """
    saved = checkpoints(store, trial_id)
    results = finished_epochs(store, trial_id)
    retained = saved[-2:]
    if results:
        result = get_intact(store, result_key(trial_id, max(results))) or {}
        final = [one for one in saved if one[1] == max(results)]  # an attempt that only measured has none
        trained = [one for one in final if one[0] == result.get("attempt")]
        retained = (trained or final)[-1:] or retained
    for name, epoch in saved:
        if (name, epoch) not in retained:
            keys = listing.keys(store, join("trials", trial_id, "checkpoint", name, epoch) + "/")
            store.delete(sorted(keys, key=lambda key: not key.endswith("/manifest.json")))
    return len(saved) - len(retained)
