"""A read-only store in a zip archive, as `sweeps archive` writes it. Unpacked, it is a store in a folder."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sweeps.errors import StoreError
from sweeps.store.base import check_key, is_key, never

SUFFIX = ".zip"
_LARGEST = 1 << 30
"""An object of more bytes is refused: a small archive could unpack to more than the memory holds."""


class ArchiveStore:
    """The objects of a zip archive under their keys. Whatever would write raises a StoreError."""

    exclusive = True

    def __init__(self, file: Path) -> None:
        self.file = file.expanduser().resolve()
        try:
            self._archive = zipfile.ZipFile(self.file)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise self._error(why, "an archive that `sweeps archive` has written", "--store FILE.zip") from None
        members = [member for member in self._archive.infolist() if not member.is_dir()]
        self._members = {member.filename: member for member in members}
        self._check(members)

    def _check(self, members: list[zipfile.ZipInfo]) -> None:
        """Refuse what an archive from elsewhere could do to whoever reads or unpacks it."""
        for member in members:
            if not is_key(member.filename):
                why = f"it has a member named {member.filename[:200]!r}, which could leave the store"
            elif member.file_size > _LARGEST:
                why = f"its member {member.filename!r} would need {member.file_size / 2**30:.0f} GiB"
            elif len(self._members) < len(members):
                why = "it has two members of one name"
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
        try:
            return self._archive.read(member)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise self._error(
                f"its member {key!r} cannot be read: {error}", "an undamaged file", "fetch the file again"
            ) from error

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
