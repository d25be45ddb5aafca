"""A store in a local or mounted folder.

Symbolic links below the folder are refused, because they could lead out of it: an object that is one, or lies in one,
is an error, and listings leave them out. The folder itself may be a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from sweeps.errors import StorageError, StoreError
from sweeps.store.base import TEMPORARY, Abandoned, check_key, never

_THREADS = 8
_TRIES = 1000
"""How often a folder is made again that another process has deleted because it was empty."""


class FolderStore:
    """A store in a local or mounted folder. An object is a file; `create` is a hard link."""

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.expanduser().resolve()
            self._existed = self.root.exists()
            is_file = self._existed and not self.root.is_dir()
        except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, an unknown ~user, a NUL
            why = getattr(error, "strerror", None) or str(error)
            allowed = "a folder whose names have at most 255 bytes each"
            raise StoreError(f"store {str(root)!r}", why, allowed, "--store ./store") from None
        if is_file:
            raise StoreError(f"store {str(self.root)!r}", "it is a file", "a folder", "--store ./store")

    def expect(self) -> None:
        """Never make the folder: without it, the store was deleted, or is not mounted on this machine."""
        self._existed = True

    @property
    def uri(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        """The file or folder of a key. StoreError if a symbolic link is part of its path."""
        self._check_links(check_key(key), set())
        return self.root / key

    def _check_links(self, key: str, known: set[str]) -> None:
        """known: folders that are no links; the folders of the key are added."""
        at = str(self.root)
        for part in key.split("/"):
            at = f"{at}/{part}"
            if at in known:
                continue
            try:
                mode = os.lstat(at).st_mode
            except OSError:  # missing, or unreadable, which the access itself reports
                return
            if stat.S_ISLNK(mode):
                raise _link_error(self.root, at)
            if stat.S_ISDIR(mode):
                known.add(at)

    def links(self) -> Iterator[str]:
        """The symbolic links in the store, as keys."""
        for folder, folders, files in os.walk(self.root):
            for name in sorted([*folders, *files]):
                if os.path.islink(f"{folder}/{name}"):
                    yield (Path(folder) / name).relative_to(self.root).as_posix()

    def get(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise self._trouble("read", key, error) from error

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        def read(key: str) -> tuple[str, bytes | None]:
            try:
                return key, self.get(key)
            except KeyError:
                return key, None

        with ThreadPoolExecutor(_THREADS) as pool:
            return {key: data for key, data in pool.map(read, keys) if data is not None}

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        versions: dict[str, str] = {}
        known: set[str] = set()
        for prefix in prefixes:
            for key in self.keys(prefix) if prefix.endswith("/") else [prefix]:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    self._check_links(check_key(key), known)
                    status = (self.root / key).stat()
                    if not stat.S_ISDIR(status.st_mode):
                        versions[key] = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        return versions

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        root = str(self.root)  # joined as strings, because making a Path per key costs more than the check itself
        existing, known = set(), set[str]()
        for key in keys:
            self._check_links(check_key(key), known)
            if os.path.isfile(f"{root}/{key}"):
                existing.add(key)
        return existing

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        path = self.path(key)
        if abandoned():
            raise Abandoned(key)
        temporary = self._write(key, path, data)
        try:
            os.replace(temporary, path)
            _sync(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._trouble("write", key, error) from error

    @property
    def writable(self) -> bool:
        if not self.root.exists():
            return os.access(next(path for path in self.root.parents if path.exists()), os.W_OK | os.X_OK)
        folders = (self.root, self.root / "sweeps", self.root / "trials")
        return all(os.access(folder, os.W_OK | os.X_OK) for folder in folders if folder.exists())

    @property
    def exclusive(self) -> bool:
        return True

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        wanted = list(objects)
        with ThreadPoolExecutor(_THREADS) as pool:  # threads share the disk's synchronisations
            created = pool.map(lambda item: self.create(*item), wanted)
            return {key for (key, _), done in zip(wanted, created, strict=True) if done}

    def create(self, key: str, data: bytes) -> bool:
        path = self.path(key)
        if path.exists():
            return False
        temporary = self._write(key, path, data)
        try:
            os.link(temporary, path)
            _sync(path.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._trouble("write", key, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _write(self, key: str, path: Path, data: bytes) -> Path:
        """Write to a temporary file next to `path`, down to the disk, and return it. If that fails, it is removed.

        Without the synchronisation, a power cut may leave an empty object under the final name.
        """
        temporary = path.with_name(TEMPORARY + uuid.uuid4().hex)
        try:
            with self._open(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # if the folder cannot be entered, there is no file to remove
                temporary.unlink(missing_ok=True)
            raise self._trouble("write", key, error) from error
        self._existed = True
        return temporary

    def _open(self, temporary: Path) -> BinaryIO:
        """Open a new file for writing. Its folder is made; another process may delete it, while empty, in between."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):
                file = temporary.open("xb")
                self._existed = True
                return file
            if self._existed and not self.root.exists():
                break
            with contextlib.suppress(FileNotFoundError):
                temporary.parent.mkdir(parents=True, exist_ok=True)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def keys(self, prefix: str) -> Iterator[str]:
        top = self.path(prefix.rstrip("/")) if prefix else self.root
        for folder, folders, files in os.walk(top):
            folders.sort()
            base = Path(folder).relative_to(self.root).as_posix()
            for name in sorted(files):
                if not name.startswith(TEMPORARY) and not os.path.islink(f"{folder}/{name}"):
                    yield name if base == "." else f"{base}/{name}"

    def children(self, prefix: str) -> list[str]:
        top = self.path(prefix.rstrip("/")) if prefix else self.root
        try:
            names = [e.name for e in os.scandir(top) if not e.is_symlink() and not e.name.startswith(TEMPORARY)]
            return sorted(names)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._trouble("list", prefix, error) from error

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.path(key)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self._trouble("delete", key, error) from error
            _drop_empty_parents(path, self.root)

    def remove_unfinished(self, older_than_s: float) -> int:
        removed = 0
        for path in self.root.rglob(f"{TEMPORARY}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime >= older_than_s:
                    path.unlink()
                    removed += 1
        return removed

    def _trouble(self, verb: str, key: str, error: OSError) -> StoreError:
        why = error.strerror or str(error)
        allowed, fix = "a folder that this user may read and write", f"ls -ld {self.root}; or --store ELSEWHERE"
        if error.errno == errno.ENOENT and self._existed and not self.root.exists():  # at any step of a write
            why = "the folder of the store has been deleted or unmounted during the run"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why, allowed = _fullness(self.root)
            fix = "free some and run the command again, which continues; or --store ELSEWHERE"
        return StorageError(f"store {str(self.root)!r}: cannot {verb} {key!r}", why, allowed, fix)


def _link_error(root: Path, link: str) -> StoreError:
    return StoreError(
        f"store {str(root)!r}: {os.path.relpath(link, root)!r}",
        "it is a symbolic link, which could lead out of the store",
        "files and folders; the folder of the whole store may be a link",
        "if you made the link, put the folder itself in its place; otherwise do not use this store",
    )


def _fullness(folder: Path) -> tuple[str, str]:
    """What a full disk lacks, and what is needed: space or files."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return "the disk is full", "a disk with free space"
    free = f"{status.f_bavail * status.f_frsize / 1e6:.0f} MB free"
    if status.f_files and not status.f_favail:
        return f"the disk has no room for more files: it is out of inodes ({free})", "a disk with free inodes"
    return f"the disk is full ({free})", "a disk with free space"


def _sync(folder: Path) -> None:
    """Write the names in a folder down to the disk, where the file system supports that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _drop_empty_parents(path: Path, root: Path) -> None:
    for folder in path.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except OSError:
            return
