"""Names of files and folders that other programs leave in folders: they belong to no data set and to no code."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from trainables.errors import TrialError

_FILES = re.compile(
    r"\._.*|\.DS_Store|\.nfs[0-9a-fA-F]+|\.fuse_hidden.*|\.directory|Thumbs\.db|ehthumbs\.db|[dD]esktop\.ini"
    r"|.*~|.*\(.*conflicted copy.*\).*",
    re.DOTALL,
)
_FOLDERS = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders of archives made on macOS, of network storage, and of file systems."""


def is_junk(name: str) -> bool:
    """Whether a file manager, a synchroniser, an editor or a file system has left a file or folder of this name."""
    return name in _FOLDERS or _FILES.fullmatch(name) is not None


def data_files(folder: Path, deep: bool = True) -> list[Path]:
    """The files below a folder of data, sorted, without hidden files and `is_junk`; empty if there is no such folder.

    deep: include the files of folders in it.

    Symbolic links are followed, also to folders; a folder that contains itself is not entered twice. Warns of links
    that lead nowhere. Raises TrialError for a folder that cannot be listed.
    """
    found = list(_below(folder, frozenset(), deep))
    files = sorted(path for path in found if path.is_file())
    broken = sorted(set(found) - set(files)) if len(files) < len(found) else []
    if broken:
        more = f" and {len(broken) - 1:,} more" if len(broken) > 1 else ""
        warnings.warn(f"{broken[0]}{more}: the symbolic link leads nowhere and was left out", stacklevel=3)
    return files


def _below(folder: Path, above: frozenset[str], deep: bool) -> Iterator[Path]:
    """Files and broken links. above: the real paths of the folders that this one is in."""
    real = os.path.realpath(folder)
    if real in above or not os.path.isdir(folder):
        return
    try:
        with os.scandir(folder) as entries:
            wanted = [entry for entry in entries if not entry.name.startswith(".") and not is_junk(entry.name)]
    except OSError as error:
        raise TrialError(
            f"folder {folder}",
            f"it cannot be listed: {error.strerror}",
            "folders that this user may read",
            f"chmod u+rx {folder}, or move it out of the data",
        ) from error
    for entry in wanted:
        if entry.is_dir():
            yield from _below(folder / entry.name, above | {real}, deep) if deep else ()
        elif entry.is_file() or entry.is_symlink():
            yield folder / entry.name
