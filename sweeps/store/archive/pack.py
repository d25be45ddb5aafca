"""Writes sweeps of a store to an archive: plans, trials and results, without the weights."""

from __future__ import annotations

import os
import re
import uuid
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import SweepError, UnknownNameError
from sweeps.store import layout, listing, plans
from sweeps.store.archive.store import SUFFIX
from sweeps.store.base import Store

PARTS = {
    "pictures": re.compile(r"trials/[^/]+/samples/.*\.(zip|png)|sweeps/[^/]+/pictures/.*"),
    "scores": re.compile(r"trials/[^/]+/samples/.*(?<!/image_scores)\.npz"),
    "logs": re.compile(r"trials/[^/]+/(log/.*|attempts/.*\.beat\.json)"),
    "weights": re.compile(r"trials/[^/]+/checkpoint/.*"),
    "notes": re.compile(r"sweeps/[^/]+/notes/.*"),
}
"""Parts that an archive can go without, and their keys: sample images, scores of each test image, logs, checkpoints,
notes of people with their names. The scores of a detector's test photographs (image_scores.npz) are in every archive:
the intervals of its tables cover the photographs."""
_OF_A_RUN = re.compile(r"sweeps/[^/]+/(stops/.*|fresh\.json|summary\.json|records\.parquet)|gates/[^/]+/tries/.*")
"""Objects of a running sweep or gate, and those that are derived from others."""
_PLAN = re.compile(r"sweeps/[^/]+/plans/.*")
_SHARED = ("code", "modules", "fingerprints")
"""Folders whose objects are named by a hash; an archive has those that its other objects name."""
_HASH = re.compile(rb"[0-9a-f]{8,64}")
_COMPRESSED = (".zip", ".npz", ".png", ".parquet")
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that equal objects make equal archives."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Packed:
    """What an archive holds."""

    file: Path
    sweeps: int
    trials: int
    objects: int
    size_bytes: int


def pack(store: Store, names: Collection[str], file: Path, parts: Collection[str]) -> Packed:
    """Write sweeps, and the trials of other sweeps that they name, to an archive; no names: all sweeps.

    parts: which of PARTS to include. The file is replaced as a whole. Raises UnknownNameError for a name that the store
    does not have, and SweepError for an unknown part, and if the file exists and is no archive.
    """
    _check(file, parts)
    chosen = sorted(set(names)) or plans.sweep_names(store)
    for name in chosen:
        plans.require_plan(store, name)
    left_out = [_OF_A_RUN, *(form for part, form in PARTS.items() if part not in parts)]
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            for key, data in _objects(store, chosen, left_out):
                member = zipfile.ZipInfo(key, _DATE)
                member.external_attr = 0o644 << 16
                stored = key.endswith(_COMPRESSED)
                archive.writestr(member, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED, 9)
                written.append(key)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    trials = {key.split("/")[1] for key in written if key.startswith("trials/")}
    return Packed(file, len(chosen), len(trials), len(written), os.path.getsize(file))


def _check(file: Path, parts: Collection[str]) -> None:
    unknown = sorted(set(parts) - PARTS.keys())
    if unknown:
        raise UnknownNameError(
            f"part {unknown[0]!r}", "an archive has no such part", ", ".join(PARTS), "--parts pictures"
        )
    given = f"--out {str(file)!r}"
    if file.suffix != SUFFIX:
        raise SweepError(given, "its name does not end in .zip", "a file FILE.zip", "--out results.zip")
    if file.exists() and not (file.is_file() and zipfile.is_zipfile(file)):
        allowed = "a new file, or an archive to replace"
        raise SweepError(given, "it exists and is no archive", allowed, "--out new.zip")


def _objects(store: Store, names: Iterable[str], left_out: list[re.Pattern[str]]) -> Iterator[tuple[str, bytes]]:
    """(key, content) of what the archive holds: the sweeps, then the trials, code, ... that their JSON names.

    What is named lies under its hash or id, so every hash in an object is looked up.
    """
    prefixes = {trial: [f"trials/{trial}/"] for trial in listing.children(store, "trials")}
    for shared in _SHARED:
        for name in {child.removesuffix(".json") for child in listing.children(store, shared)}:
            prefixes.setdefault(name, []).extend([f"{shared}/{name}.json", f"{shared}/{name}/"])
    waiting = [f"sweeps/{name}/" for name in names]
    while waiting:
        here = sorted(key for key in listing.find(store, waiting) if not any(form.fullmatch(key) for form in left_out))
        waiting = []
        for batch in _batches(here):
            for key, data in sorted(store.get_many(batch).items()):
                yield key, data
                for name in _HASH.findall(data) if key.endswith(".json") else ():
                    waiting += prefixes.pop(name.decode(), [])
                if _PLAN.fullmatch(key):
                    waiting += _gate(key, data)


def _gate(key: str, data: bytes) -> list[str]:
    """The folder of the gate whose candidate a plan is; empty for other plans."""
    gate = layout.intact({key: data}).get(key, {}).get("gate")
    return [layout.join("gates", gate["name"]) + "/"] if gate else []


def _batches(keys: list[str]) -> Iterator[list[str]]:
    """Small objects by many, as that is faster on S3; weights, which may be large, one by one."""
    small = [key for key in keys if not PARTS["weights"].fullmatch(key)]
    yield from (small[start : start + _AT_ONCE] for start in range(0, len(small), _AT_ONCE))
    yield from ([key] for key in keys if PARTS["weights"].fullmatch(key))
