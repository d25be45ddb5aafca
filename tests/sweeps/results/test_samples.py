"""Pictures of trials: packed in one object, read from there or from the single objects of older versions."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from sweeps.results import samples
from sweeps.store.local import FolderStore

FILES = {"truth.png": b"\x89PNG truth", "composite.png": b"\x89PNG filled", "per_image.npz": b"values"}


def test_pictures_are_one_object_and_equal_ones_have_equal_bytes() -> None:
    packed = samples.pack(FILES)
    assert packed.keys() == {"per_image.npz", samples.ARCHIVE}
    assert samples.unpack(packed[samples.ARCHIVE]) == {n: data for n, data in FILES.items() if n.endswith(".png")}
    assert samples.pack(FILES) == packed
    assert samples.pack({}) == {}


def test_old_and_new_folders_are_read_alike(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for name, data in FILES.items():
        store.put(f"old/{name}", data)
    for name, data in samples.pack(FILES).items():
        store.put(f"new/{name}", data)
    keys = [f"{folder}/{name}.png" for folder in ("old", "new", "none") for name in ("composite", "mask")]
    assert samples.read(store, keys) == dict.fromkeys(("old/composite.png", "new/composite.png"), b"\x89PNG filled")


def test_a_damaged_archive_has_no_pictures_and_a_compressed_one_is_not_inflated(tmp_path: Path) -> None:
    packed = samples.pack(FILES)[samples.ARCHIVE]
    assert samples.unpack(packed[:-9]) == samples.unpack(b"") == {}
    assert set(samples.unpack(packed.replace(b"PNG truth", b"PNG trout"))) <= {"composite.png"}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("composite.png", bytes(10_000_000))
    assert samples.unpack(target.getvalue()) == {}
    store = FolderStore(tmp_path)
    store.put(f"a/{samples.ARCHIVE}", b"junk")
    assert samples.read(store, ["a/composite.png"]) == {}
