"""The checkpoint folder of a program: read as a whole, while the program runs, and given back to the next one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainables.code.cache import safe_path


@dataclass(frozen=True)
class Listing:
    """The files of a folder at one moment."""

    files: Mapping[str, tuple[int, int]]
    """Size in bytes, and time of the last change in ns since 1970, by path."""
    changed_ns: int
    """Time of the last change of a file or folder, also by renaming."""


def listing(folder: Path) -> Listing:
    """The files below a folder; links are not followed. An entry that vanishes meanwhile is left out."""
    files: dict[str, tuple[int, int]] = {}
    newest = folder.stat().st_ctime_ns
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root, name)
            with contextlib.suppress(FileNotFoundError):
                facts = path.lstat()
                newest = max(newest, facts.st_ctime_ns)
                if name in names and path.is_file() and not path.is_symlink():
                    files[path.relative_to(folder).as_posix()] = (facts.st_size, facts.st_ctime_ns)
    return Listing(files, newest)


def read(folder: Path, listed: Listing) -> dict[str, Tensor] | None:
    """The files as tensors of bytes; None if they changed since they were listed."""
    files = {}
    for name in listed.files:
        try:
            data = bytearray((folder / name).read_bytes())
        except FileNotFoundError:
            return None
        files[name] = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    return files if listing(folder) == listed else None


def write(folder: Path, files: Mapping[str, Tensor]) -> None:
    """The inverse of `read`."""
    for name, data in files.items():
        path = folder / safe_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.numpy().tobytes())
