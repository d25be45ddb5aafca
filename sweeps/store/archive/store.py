"""A read-only store in a zip archive, as `sweeps archive` writes it. Unpacked, it is a store in a folder."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sweeps.errors import StoreError
from sweeps.store.base import check_key, is_key, never

SUFFIX = ".zip"
_LARGEST, _LARGEST_WEIGHTS = 1 << 30, 1 << 36
"""Bytes of an object, and of a file of weights, beyond which it is not read: a small archive could unpack to more than
the memory holds."""


class ArchiveStore:
    """The objects of a zip archive under their keys. Every write raises a StoreError."""

    exclusive = True

    def __init__(self, file: Path) -> None:
        self.file = file.expanduser().resolve()
        try:
            self._archive = zipfile.ZipFile(self.file)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise self._error(why, "an archive that `sweeps archive` has written", "--store FILE.zip") from None
        members = self._archive.infolist()
        self._check(members)
        self._members = {member.filename: member for member in members if not member.is_dir()}

    def _check(self, members: list[zipfile.ZipInfo]) -> None:
        """Refuse what an archive from elsewhere could do to whoever reads or unpacks it."""
        names = Counter(member.filename for member in members)
        for member in members:
            if not is_key(member.filename.removesuffix("/")):
                why = f"it has a member named {member.filename[:200]!r}, which could leave the store"
            elif names[member.filename] > 1:
                why = f"it has two members named {member.filename!r}"
            elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                why = f"its member {member.filename!r} is compressed by another method than deflate"
            else:
                continue
            raise self._error(why, "an archive as `sweeps archive` writes it", "do not use this file")

    def _error(self, why: str, allowed: str, fix: str) -> StoreError:
        return StoreError(f"store {str(self.file)!r}", why, allowed, fix)

    @property
    def uri(self) -> str:
        return str(self.file)

    @property
    def writable(self) -> bool:
        return False

    def get(self, key: str) -> bytes:
        member = self._members[check_key(key)]
        if member.file_size > (_LARGEST_WEIGHTS if "/checkpoint/" in key else _LARGEST):
            raise self._unreadable(key, f"it declares {member.file_size / 2**30:.0f} GiB")
        try:
            data = self._archive.open(member).read(member.file_size + 1)  # no more, whatever it holds
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise self._unreadable(key, str(error) or "it is cut short") from error
        if len(data) != member.file_size:
            raise self._unreadable(key, f"it declares {member.file_size:,} bytes and holds others")
        return data

    def _unreadable(self, key: str, why: str) -> StoreError:
        return self._error(f"its member {key!r} cannot be read: {why}", "an undamaged file", "fetch the file again")

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: self.get(key) for key in sorted(self.exists_many(keys))}

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        return {key for key in map(check_key, keys) if key in self._members}

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        wanted = [prefix for prefix in prefixes if check_key(prefix.removesuffix("/"))]
        return {
            key: f"{member.CRC:08x}-{member.file_size}"
            for key, member in sorted(self._members.items())
            if any(key == prefix or (prefix.endswith("/") and key.startswith(prefix)) for prefix in wanted)
        }

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self._members if key.startswith(prefix))

    def children(self, prefix: str) -> list[str]:
        folder = prefix.strip("/") + "/" if prefix.strip("/") else ""
        return sorted({key[len(folder) :].partition("/")[0] for key in self._members if key.startswith(folder)})

    # --- what an archive cannot do ------------------------------------------------------------------------------------

    def _refuse(self) -> StoreError:
        return self._error(
            "it is an archive, which can only be read",
            "a folder or s3://bucket/prefix for what trains or writes",
            f"unzip {self.file.name} -d results, then --store results",
        )

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        raise self._refuse()

    def create(self, key: str, data: bytes) -> bool:
        raise self._refuse()

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        raise self._refuse()

    def delete(self, keys: Iterable[str]) -> None:
        raise self._refuse()

    def remove_unfinished(self, older_than_s: float) -> int:
        return 0
