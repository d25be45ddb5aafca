"""A store in one file is read as the store that it was made from, and refuses whatever would write."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sweeps as sw
from sweeps.cli.main import main
from sweeps.errors import StoreError, SweepError
from sweeps.store import layout, listing
from sweeps.store.archive.pack import PARTS, pack
from sweeps.store.archive.store import ArchiveStore
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.analysis.make_store import ArmSpec, make_store

NAME = "partial-conv"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return make_store(tmp_path / "store", [ArmSpec("A", 25.0), ArmSpec("B", 27.0)], range(4))


@pytest.fixture
def archive(store: FolderStore, tmp_path: Path) -> ArchiveStore:
    file = tmp_path / "results.zip"
    pack(store, [], file, PARTS)
    opened = open_store(str(file))
    assert isinstance(opened, ArchiveStore)
    return opened


def test_it_is_read_as_the_folder_is(store: FolderStore, archive: ArchiveStore) -> None:
    keys = list(archive.keys(""))
    assert set(keys) == {key for key in listing.keys(store, "") if not key.endswith(".parquet")}
    assert archive.get_many(keys) == store.get_many(keys)
    assert archive.exists_many([*keys, "trials/absent/trial.json"]) == set(keys)
    assert archive.children("trials") == store.children("trials")
    assert archive.children("absent") == []
    one = keys[0].rpartition("/")[0] + "/"
    assert list(archive.find([one, keys[-1]])) == sorted(set(store.find([one, keys[-1]])) & set(keys))
    with pytest.raises(KeyError):
        archive.get("trials/absent/trial.json")


def test_a_report_of_it_is_that_of_the_store(store: FolderStore, archive: ArchiveStore) -> None:
    before, after = (sw.open(one.uri)[NAME] for one in (store, archive))
    assert before.records.equals(after.records)
    assert before.table().equals(after.table())
    assert before.claims().equals(after.claims())


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.put("a", b""),
        lambda store: store.create("a", b""),
        lambda store: store.create_many([("a", b"")]),
        lambda store: store.delete(["a"]),
    ],
)
def test_it_cannot_be_written(archive: ArchiveStore, write: Callable[[ArchiveStore], object]) -> None:
    assert not archive.writable
    with pytest.raises(StoreError, match="can only be read") as told:
        write(archive)
    assert told.value.fix == "unzip results.zip -d results, then --store results"


def test_unpacked_it_is_a_store_that_goes_on(archive: ArchiveStore, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive.file) as file:
        file.extractall(tmp_path / "unpacked")
    assert sw.open(tmp_path / "unpacked")[NAME].table().equals(sw.open(archive.uri)[NAME].table())
    FolderStore(tmp_path / "unpacked").put("trials/0000000000000000/log/0001-a.txt", b"")


def test_parts_are_left_out_and_equal_stores_make_equal_files(store: FolderStore, tmp_path: Path) -> None:
    for key in (
        "log/0001-a.txt",
        "checkpoint/0001-a/1/state.pt",
        "samples/0001-a/1/per_image.npz",
        "samples/0001-a/1/pictures.zip",
    ):
        store.put(f"trials/{store.children('trials')[0]}/{key}", b"1")
    store.put(f"sweeps/{NAME}/notes/{'0' * 8}.json", b"{}")
    sizes = [pack(store, [NAME], tmp_path / f"{n}.zip", list(PARTS)[:n]).objects for n in range(len(PARTS) + 1)]
    assert sizes == sorted(set(sizes)), "each part adds objects"
    again = pack(store, [NAME], tmp_path / "again.zip", ())
    assert again.file.read_bytes() == (tmp_path / "0.zip").read_bytes()


def test_scores_of_detectors_are_in_every_archive(store: FolderStore, tmp_path: Path) -> None:
    """The intervals of their tables are computed from them."""
    trial = next(key.split("/")[1] for key in store.keys("trials/") if "/samples/" in key)
    kept, left = (f"trials/{trial}/samples/0001-abcd/1/{name}.npz" for name in ("image_scores", "per_image"))
    for key in (kept, left):
        store.put(key, b"scores")
    pack(store, [NAME], tmp_path / "bare.zip", ())
    assert set(ArchiveStore(tmp_path / "bare.zip").keys("trials/")) & {kept, left} == {kept}


def test_what_a_sweep_names_comes_along_and_other_sweeps_do_not(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [ArmSpec("A", 25.0)], range(2))
    make_store(tmp_path / "store", [ArmSpec("C", 20.0)], range(7, 9), name="other")
    used, unused = (store.children("trials")[n] for n in (0, 1))
    mine = {trial for trial in store.children("trials") if trial in str(store.get(f"sweeps/{NAME}/plans/0001.json"))}
    code, missing = "ab" * 8, "cd" * 8
    for name in (code, missing):
        store.put(f"code/{name}.json", layout.dump({}))
        store.put(f"code/{name}/net.py", b"")
    foreign = next(trial for trial in (used, unused, *store.children("trials")) if trial not in mine)
    store.put(f"sweeps/{NAME}/notes/{'0' * 8}.json", layout.dump({"trial": foreign, "code": code}))
    pack(store, [NAME], tmp_path / "one.zip", ("notes",))
    found = open_store(str(tmp_path / "one.zip"))
    assert found.children("sweeps") == [NAME]
    assert set(found.children("trials")) == {*mine, foreign}
    assert set(found.keys("code/")) == {f"code/{code}.json", f"code/{code}/net.py"}


def test_hostile_and_broken_archives_are_refused(archive: ArchiveStore, tmp_path: Path) -> None:
    def made(*names: str) -> Path:
        file = tmp_path / "hostile.zip"
        with zipfile.ZipFile(file, "w") as written:
            for name in names:
                written.writestr(name, b"1")
        return file

    for name in ("../x", "/etc/x", "a/../../x", "../x/"):
        with pytest.raises(StoreError, match="could leave the store"):
            open_store(str(made(name)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = made("a", "a")
    with pytest.raises(StoreError, match="two members named"):
        open_store(str(twice))
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(StoreError, match="not a zip file"):
        open_store(str(tmp_path / "text.zip"))
    data = bytearray(archive.file.read_bytes())
    key = next(key for key in archive.keys("trials/") if key.endswith("trial.json"))
    at = archive._members[key].header_offset + 30 + len(key) + 20
    data[at] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(str(tmp_path / "flipped.zip")).get(key)


def test_a_member_that_holds_more_than_it_declares_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("bomb.json", b"0" * 50_000_000)
    data = file.read_bytes()
    for declared, why in ((100, "declares 100 bytes|Bad CRC"), (1 << 31, "declares 2 GiB")):
        size, real = struct.pack("<I", declared), struct.pack("<I", 50_000_000)
        file.write_bytes(data.replace(real, size))
        opened = open_store(str(file))
        tracemalloc.start()
        with pytest.raises(StoreError, match=why):
            opened.get("bomb.json")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as written:
        written.writestr("a.json", b"0")
    with pytest.raises(StoreError, match="another method than deflate"):
        open_store(str(file))


def test_a_gate_comes_with_its_candidates_and_notes_of_people_do_not(tmp_path: Path) -> None:
    def gated(plan: dict[str, Any]) -> None:
        plan["gate"] = {"name": "mine", "candidate": 1}

    store = make_store(tmp_path / "store", [ArmSpec("A", 25.0)], range(2), [], change=gated)
    there = ("gates/mine/gate.json", "gates/mine/verdicts/0001.json")
    note = f"sweeps/{NAME}/notes/{'0' * 8}.json"
    for key in (*there, "gates/mine/tries/0001.json", "gates/other/gate.json", note):
        store.put(key, b"{}")
    pack(store, [NAME], tmp_path / "one.zip", ("scores",))
    found = open_store(str(tmp_path / "one.zip"))
    assert tuple(found.keys("gates/")) == there
    assert note not in set(found.keys(""))
    pack(store, [NAME], tmp_path / "one.zip", ("notes",))
    assert note in set(open_store(str(tmp_path / "one.zip")).keys(""))


def test_a_home_folder_is_understood(archive: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/results.zip").uri == archive.uri


def test_mistakes_of_the_verb(store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.zip").write_text("a text")
    for arguments, why in (
        (["nothing", "--out", tmp_path / "a.zip"], "no sweep of this name"),
        (["--out", tmp_path / "a.tar"], "does not end in .zip"),
        (["--out", tmp_path / "mine.zip"], "it exists and is no archive"),
        (["--out", tmp_path / "a.zip", "--parts", "colours"], "no such part"),
    ):
        assert main(["archive", "--store", store.uri, *map(str, arguments)]) == 2
        assert why in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.zip", "store"]
    with pytest.raises(SweepError):
        sw.archive(store.uri, tmp_path / "a.zip", ["nothing"])
