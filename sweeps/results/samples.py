"""The pictures that trials store of their evaluation images: one archive for an attempt and epoch.

`trials/<id>/samples/<attempt>/<epoch>/pictures.zip` holds the PNG files of an epoch, uncompressed, so that they cost
one request on S3. Stores of older versions have each picture as an object of its own, which is still read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping

from sweeps.store.base import Store

ARCHIVE = "pictures.zip"
_PICTURE = ".png"


def pack(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The objects to store for the files of an epoch: an archive of the pictures, and each other file as it is."""
    pictures = {name: data for name, data in files.items() if name.endswith(_PICTURE)}
    objects = {name: data for name, data in files.items() if name not in pictures}
    if pictures:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name, data in pictures.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # without a time: equal pictures give equal bytes
        objects[ARCHIVE] = target.getvalue()
    return objects


def unpack(data: bytes) -> dict[str, bytes]:
    """The pictures in an archive, by name; those that are damaged or compressed are left out."""
    pictures = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.compress_type == zipfile.ZIP_STORED and member.file_size <= len(data):
                    pictures[member.filename] = archive.read(member)
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        pass  # an archive cut short has no pictures; one with a damaged picture has those before it
    return pictures


def read(store: Store, keys: Iterable[str]) -> dict[str, bytes]:
    """The pictures that exist among `<folder>/<name>.png`, in an archive of the folder or as objects of their own."""
    wanted = list(keys)
    archives = store.get_many({_archive(key): None for key in wanted})
    unpacked = {key: unpack(data) for key, data in archives.items()}
    packed = {
        key: unpacked[_archive(key)][_name(key)] for key in wanted if _name(key) in unpacked.get(_archive(key), {})
    }
    return packed | store.get_many(key for key in wanted if _archive(key) not in archives)


def _archive(key: str) -> str:
    return f"{key.rpartition('/')[0]}/{ARCHIVE}"


def _name(key: str) -> str:
    return key.rpartition("/")[2]
