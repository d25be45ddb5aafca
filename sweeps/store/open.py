"""Open a store by its address."""

from __future__ import annotations

from pathlib import Path

from sweeps.errors import StoreError
from sweeps.store.base import Store
from sweeps.store.local import FolderStore


def open_store(uri: str) -> Store:
    """Open the store at a folder path, a zip archive, or a `file://` or `s3://` address.

    A folder is created at the first write.
    """
    if not uri.strip():
        raise StoreError(
            f"store {uri!r}",
            "the address is empty, as that of an unset variable",
            "a folder, file:///absolute/folder or s3://bucket/prefix",
            "--store ./store, and unset SWEEPS_STORE if it is empty",
        )
    scheme, _, rest = uri.partition(":")
    if rest.startswith("//") and scheme == "s3":
        from sweeps.store.s3.store import S3Store

        return S3Store(rest[2:])
    if rest.startswith("//") and scheme == "file":
        return _on_disk(Path("/" + rest.lstrip("/")))
    if not rest.startswith("//") and scheme.lower() not in ("s3", "file"):
        return _on_disk(Path(uri))
    meant = "file" if scheme.lower() == "file" else "s3"
    raise StoreError(
        f"store {uri!r}",
        f"no store address begins with {uri[: len(uri) - len(rest.lstrip('/'))]!r}",
        "a folder, file:///absolute/folder or s3://bucket/prefix",
        f"--store {meant}://{'/' if meant == 'file' else ''}{rest.lstrip('/')}",
    )


def _on_disk(path: Path) -> Store:
    if path.suffix == ".zip" and path.expanduser().is_file():
        from sweeps.store.archive.store import ArchiveStore

        return ArchiveStore(path)
    return FolderStore(path)
