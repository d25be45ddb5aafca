"""A forged set of others: whatever is wrong in it is refused with the name of the file, before it fills the memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainables.forgery.make_forged import forge
from trainables.errors import TrialError
from trainables.forgery import forged_images, forged_index
from trainables.forgery.encoding import tar, untar

BLOCK = {
    "images": {"name": "cifar10", "train": 4, "val": 2, "test": 2},
    "mask": {"name": "box"},
    "inpainters": [{"name": "mean_fill"}],
}
Members = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("forged")
    forge(BLOCK, folder, data_root)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(whole: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in whole.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    return tmp_path / "set"


def reseal(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Change `done.json` and `index.json` and make their checksums right again."""
    done, index = (json.loads((folder / name).read_bytes()) for name in ("done.json", "index.json"))
    change(done, index)
    content = json.dumps(index).encode()
    (folder / "index.json").write_bytes(content)
    with contextlib.suppress(TypeError, KeyError, AttributeError):
        done["fingerprint"] = forged_index.fingerprint(done["shards"])
    done.setdefault("index_sha256", "")
    if done["index_sha256"] != "wrong":
        done["index_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "done.json").write_text(json.dumps(done))


def repack(folder: Path, content: bytes) -> None:
    """Replace the first shard, with its checksum in `done.json`."""
    (folder / "shards" / "00000.tar").write_bytes(content)
    reseal(folder, lambda done, _: done["shards"]["00000"].update(sha256=hashlib.sha256(content).hexdigest()))


def refused(folder: Path, file: str) -> str:
    with pytest.raises(TrialError) as caught:
        forged_images.load(folder)
    assert file in caught.value.given
    return caught.value.why


# --- done.json and index.json -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10**9, 4097, 0, -1, "32", 32.0, None, True])
def test_a_size_that_no_set_has_is_refused(copy: Path, size: object) -> None:
    reseal(copy, lambda done, _: done.update(size=size))
    assert "`size`" in refused(copy, "done.json")


def test_another_size_than_the_configured_one_is_refused(copy: Path) -> None:
    with pytest.raises(TrialError, match="32 px"):
        forged_images.load(copy, size=64)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "0", "00000/../../evil", "", "..\\evil", "00000\0"])
def test_a_shard_that_is_no_number_is_refused(copy: Path, name: str) -> None:
    def change(done: dict[str, Any], index: dict[str, Any]) -> None:
        done["shards"][name] = done["shards"].pop("00000")
        index["rows"]["shard"] = [name if shard == "00000" else shard for shard in index["rows"]["shard"]]

    reseal(copy, change)
    assert "shard" in refused(copy, "done.json")


@pytest.mark.parametrize("key", ["index_sha256", "shards", "size", "fingerprint", "id"])
def test_a_missing_field_is_refused(copy: Path, key: str) -> None:
    done = json.loads((copy / "done.json").read_bytes())
    del done[key]
    (copy / "done.json").write_text(json.dumps(done))
    refused(copy, "done.json")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("shard", "../evil"),
        ("shard", "99999"),
        ("key", "../evil"),
        ("key", 5),
        ("split", "evil"),
        ("label", 2),
        ("label", "1"),
        ("box", [0, 0, 1]),
        ("box", "0011"),
        ("box", [0.1, 0.1, 1.2, 0.5]),
        ("hole_share", 1.5),
        ("hole_share", float("inf")),
        ("sharpness", "evil"),
        ("source", ["evil"]),
    ],
)
def test_a_value_that_is_none_of_its_column_is_refused(copy: Path, column: str, value: object) -> None:
    reseal(copy, lambda _, index: index["rows"][column].__setitem__(0, value))
    refused(copy, "index.json")


@pytest.mark.parametrize(
    "box", [[-0.1, 0, 0.5, 0.5], [0.5, 0, 0.5, 1], [0, 0.6, 1, 0.5], [0, 0, 1, 1.01], [0, 0, 0, 0]]
)
def test_a_box_outside_the_image_is_refused_by_name(copy: Path, box: list[float]) -> None:
    keys: list[str] = []

    def change(_: dict[str, Any], index: dict[str, Any]) -> None:
        at = index["rows"]["label"].index(1)
        index["rows"]["box"][at] = box
        keys.append(index["rows"]["key"][at])

    reseal(copy, change)
    assert keys[0] in refused(copy, "index.json")


def test_columns_of_other_lengths_and_doubled_keys_are_refused(copy: Path) -> None:
    reseal(copy, lambda _, index: index["rows"]["label"].append(1))
    assert "lengths" in refused(copy, "index.json")
    reseal(copy, lambda _, index: index["rows"]["label"].pop())
    reseal(copy, lambda _, index: index["rows"]["key"].__setitem__(1, index["rows"]["key"][0]))
    assert "same key" in refused(copy, "index.json")


@pytest.mark.parametrize("file", ["done.json", "index.json"])
def test_nested_brackets_and_cut_files_are_refused(copy: Path, file: str) -> None:
    for content in (b"[" * 100_000, b"", b"{", b"[]", b"null"):
        (copy / file).write_bytes(content)
        if file == "index.json":
            done = json.loads((copy / "done.json").read_bytes())
            done["index_sha256"] = hashlib.sha256(content).hexdigest()
            (copy / "done.json").write_text(json.dumps(done))
        refused(copy, file)


def test_a_link_is_refused(copy: Path, tmp_path: Path) -> None:
    for name in ("done.json", "index.json", "shards"):
        (copy / name).rename(tmp_path / "elsewhere")
        (copy / name).symlink_to(tmp_path / "elsewhere")
        assert "symbolic link" in refused(copy, name)
        (copy / name).unlink()
        (tmp_path / "elsewhere").rename(copy / name)
    assert len(forged_images.load(copy).train) == 8


# --- shards -----------------------------------------------------------------------------------------------------------


def members(folder: Path) -> Members:
    return list(untar((folder / "shards" / "00000.tar").read_bytes()))


def test_a_wrong_sum_is_refused(copy: Path) -> None:
    (copy / "shards" / "00000.tar").write_bytes(b"evil")
    assert "SHA-256" in refused(copy, "00000.tar")


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/b.png", "a\\b.png", ".hidden", "evil", "a..png"])
def test_a_member_with_another_kind_of_name_is_refused(copy: Path, name: str) -> None:
    repack(copy, tar([*members(copy), (name, b"x")]))
    assert name in refused(copy, "00000.tar").replace("\\\\", "\\")


def test_a_missing_a_doubled_and_a_second_image_are_refused(copy: Path) -> None:
    all_ = members(copy)
    image = next(i for i, (name, _) in enumerate(all_) if name.endswith(".png") and "mask" not in name)
    mask = next(i for i, (name, _) in enumerate(all_) if name.endswith(".mask.png"))
    for at, what in ((image, "image"), (mask, "mask")):
        repack(copy, tar(all_[:at] + all_[at + 1 :]))
        assert f"the {what} of" in refused(copy, "00000.tar")
    repack(copy, tar([*all_, all_[image]]))
    assert "occurs twice" in refused(copy, "00000.tar")
    repack(copy, tar([*all_, (all_[image][0].replace(".png", ".jpg"), all_[image][1])]))
    assert "second image" in refused(copy, "00000.tar")


def test_a_member_that_is_no_plain_file_is_refused(copy: Path) -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    for kind in (*kinds, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            entry = tarfile.TarInfo("evil.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        repack(copy, target.getvalue())
        refused(copy, "00000.tar")


def test_a_member_larger_than_the_file_is_refused_unread(copy: Path) -> None:
    entry = tarfile.TarInfo("evil.png")
    entry.size = 10**12
    repack(copy, entry.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    assert "larger than" in refused(copy, "00000.tar")


@pytest.mark.parametrize("content", [b"", b"evil" * 500, b"\x1f\x8b\x08" + b"\0" * 600, b"PK\3\4" + b"\0" * 600])
def test_what_is_no_tar_file_is_refused(copy: Path, content: bytes) -> None:
    repack(copy, content)
    refused(copy, "00000.tar")


def bomb(side: int) -> bytes:
    """A PNG that declares side x side pixels, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [33, 30_000, 2**31 - 1])
@pytest.mark.parametrize("ending", [".png", ".mask.png"])
def test_an_image_that_declares_another_size_is_not_decoded(copy: Path, side: int, ending: str) -> None:
    changed = [(name, bomb(side) if name.endswith(ending) else content) for name, content in members(copy)]
    repack(copy, tar(changed))
    assert "32x32 px" in refused(copy, "00000.tar")
