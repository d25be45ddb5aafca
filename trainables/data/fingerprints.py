"""Fingerprints of the files that trials read: their names, sizes and content.

Contents are hashed once: the hashes are kept in the user's cache by path, size and times of modification, so that a
folder of 10,000 images is listed, but not read, for each plan and each trial. Imports no torch.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainables.config.data_paths import DataPath, of_patterns
from trainables.data.image_files import image_files
from trainables.data.listing import data_files, is_junk
from trainables.errors import TrialError

DIGITS = 16
SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was hashed may change again without a change of its time."""
_Stat = tuple[int, int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What a folder or file holds."""

    path: str
    """As the configuration names it."""
    files: Mapping[str, tuple[int, str]]
    """Size and hash of each file, by name relative to the folder."""

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with the name, the size or the content of a file."""
        lines = (f"{name}\0{size}\0{content}\n" for name, (size, content) in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]


def fingerprints(paths: Iterable[DataPath], root: Path | None) -> dict[str, Fingerprint]:
    """The fingerprints of folders and files by path; those that do not exist on this machine are left out.

    root: the data root; None for `~/.cache/inpaint-sweeps`, into which data sets are downloaded.
    """
    found: dict[str, Fingerprint] = {}
    for path in paths:
        if path.path not in found and (files := _files(path, root)):
            found[path.path] = Fingerprint(path.path, files)
    return found


def check_reads(patterns: Iterable[str], root: Path | None) -> None:
    """Raise TrialError for a pattern of `reads` that matches no file that can be read."""
    for path in of_patterns(patterns):
        if not _files(path, root):
            raise TrialError(
                f"reads: {path.path}",
                f"no file in {root or _downloads()} matches it",
                "files and folders that can be read, with * and **, relative to the data root (--data, $SWEEPS_DATA)",
                "correct the path, or remove it if nothing reads it",
                "reads",
            )


def _downloads() -> Path:
    return Path.home() / ".cache" / "inpaint-sweeps"


def _files(path: DataPath, root: Path | None) -> dict[str, tuple[int, str]]:
    """Empty for what does not exist or cannot be read."""
    place = (root or _downloads()) / path.path
    try:
        if path.pattern:
            place, names = _matches(root or _downloads(), path.path)
        else:
            names = _names(place, path.images)
        stats = {name: _stat(place / name) for name in names}
        if path.verified:
            return {name: (stat[0], "") for name, stat in stats.items()}
        return {name: (stats[name][0], content) for name, content in _hashes(place, stats).items()}
    except (OSError, TrialError):  # the check of the data set gives the error
        return {}


def _names(place: Path, images: bool) -> list[str]:
    """The files of a folder that count, sorted; for a file, an empty name."""
    if place.is_file():
        return [""]
    if images:
        return image_files(place, "data")
    return [file.relative_to(place).as_posix() for file in data_files(place)]


def _matches(root: Path, pattern: str) -> tuple[Path, list[str]]:
    """The innermost folder or file that a pattern names without * and **, and the files in it that match."""
    parts = Path(pattern).parts
    fixed = list(itertools.takewhile(lambda part: not set(part) & set("*?["), parts))
    place = root.joinpath(*fixed)
    if len(fixed) == len(parts):
        return place, _names(place, images=False)
    found: set[Path] = set()
    flat = list(itertools.takewhile(lambda part: part != "**", parts[len(fixed) :]))
    deep = parts[len(fixed) + len(flat) :]
    for match in place.glob("/".join(flat)) if flat else [place]:
        names = match.relative_to(place).parts
        if not any(name.startswith(".") or is_junk(name) for name in names):
            files = [match] if match.is_file() else data_files(match)  # follows links, which `**` of `glob` does not
            found.update(file for file in files if _fits(file.relative_to(match).parts, deep))
    return place, sorted(file.relative_to(place).as_posix() for file in found)


def _fits(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a pattern matches a file, given by the names of its folders and its own, or one of these folders."""
    if not pattern:
        return True
    if pattern[0] == "**" and _fits(names, pattern[1:]):
        return True
    fits = bool(names) and (pattern[0] == "**" or fnmatch.fnmatchcase(names[0], pattern[0]))
    return fits and _fits(names[1:], pattern if pattern[0] == "**" else pattern[1:])


def _stat(file: Path) -> _Stat:
    """Size and times. The time of change of the entry also changes if a copy keeps the time of modification."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _hashes(place: Path, stats: Mapping[str, _Stat]) -> dict[str, str]:
    """The hash of each file, from the cache where its size and times are those of the cache."""
    cache = _cache_file(place)
    known = _read(cache)
    found = {name: str(known[name][3]) for name, stat in stats.items() if tuple(known.get(name, ())[:3]) == stat}
    missing = [name for name in stats if name not in found]
    if not missing:
        return {name: found[name] for name in stats}
    started = time.time_ns()
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing releases the interpreter lock
        found.update(zip(missing, pool.map(lambda name: content_hash(place / name), missing), strict=True))
    settled: dict[str, list[int | str]] = {
        name: [*stat, found[name]] for name, stat in stats.items() if max(stat[1:]) < started - SETTLED_NS
    }
    _write(cache, known | settled)  # `known` may hold files of the folder that only another pattern matches
    return {name: found[name] for name in stats}


def content_hash(file: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGITS]


def cached_hash(file: Path) -> str:
    """The same, without reading a file that is as it was when it was last hashed."""
    return _hashes(file, {"": _stat(file)})[""]


# --- the cache --------------------------------------------------------------------------------------------------------


def _cache_file(place: Path) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:DIGITS]
    return home / "inpaint-sweeps" / "fingerprints" / f"{name}.json"


def _read(cache: Path) -> dict[str, list[int | str]]:
    """Empty if there is no cache, or a damaged one."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(cache.read_bytes())
        if isinstance(known, dict) and all(isinstance(entry, list) and len(entry) == 4 for entry in known.values()):
            return known
    return {}


def _write(cache: Path, entries: Mapping[str, list[int | str]]) -> None:
    """Replace the cache. A cache that cannot be written costs time only."""
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as whole:
            whole.write(json.dumps(entries).encode())
        Path(whole.name).replace(cache)
