"""The store's contract, against every backend."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import StoreError
from sweeps.store import FolderStore, Store, open_store


class Contract:
    """What every backend promises; a backend's class gives the fixture `store`."""

    def test_put_then_get(self, store: Store) -> None:
        store.put("a/b.json", b"one")
        store.put("a/b.json", b"two")
        assert store.get("a/b.json") == b"two"

    def test_an_absent_key_is_a_key_error(self, store: Store) -> None:
        with pytest.raises(KeyError):
            store.get("nothing/here")

    def test_create_writes_once(self, store: Store) -> None:
        assert store.create("once", b"first")
        assert not store.create("once", b"second")
        assert store.get("once") == b"first"

    def test_of_many_creators_one_wins(self, store: Store) -> None:
        wins: list[int] = []
        start = threading.Barrier(8)

        def create(number: int) -> None:
            start.wait()
            if store.create("race/claim", str(number).encode()):
                wins.append(number)

        threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1
        assert store.get("race/claim") == str(wins[0]).encode()

    def test_keys_are_sorted_and_below_the_prefix(self, store: Store) -> None:
        for key in ("b/2", "b/10", "b/c/1", "bb/1", "a"):
            store.put(key, b"")
        assert list(store.keys("b/")) == ["b/10", "b/2", "b/c/1"]
        assert set(store.keys("")) == {"a", "b/10", "b/2", "b/c/1", "bb/1"}
        assert list(store.keys("absent/")) == []

    def test_children_are_names_directly_below(self, store: Store) -> None:
        for key in ("t/x/1", "t/x/2", "t/y", "z"):
            store.put(key, b"")
        assert store.children("t") == ["x", "y"]
        assert store.children("absent") == []

    def test_many_at_once(self, store: Store) -> None:
        for i in range(20):
            store.put(f"many/{i}", str(i).encode())
        wanted = [f"many/{i}" for i in range(0, 40, 2)]
        assert store.get_many(wanted) == {f"many/{i}": str(i).encode() for i in range(0, 20, 2)}
        assert store.exists_many(wanted) == {f"many/{i}" for i in range(0, 20, 2)}

    def test_delete_forgives_absent_keys(self, store: Store) -> None:
        store.put("d/1", b"")
        store.delete(["d/1", "d/2"])
        assert list(store.keys("d/")) == []

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/.", "a\0b", ".writing-x"])
    def test_a_key_cannot_leave_the_store(self, store: Store, key: str) -> None:
        for act in (store.get, lambda k: store.put(k, b""), lambda k: store.create(k, b"")):
            with pytest.raises(StoreError):
                act(key)

    def test_it_opens_again_by_its_address(self, store: Store) -> None:
        store.put("here", b"x")
        assert open_store(store.uri).get("here") == b"x"

    def test_large_objects(self, store: Store) -> None:
        data = os.urandom(9 * 2**20)
        store.put("large", data)
        assert store.get("large") == data


class TestFolder(Contract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FolderStore(tmp_path / "made" / "at first write")

    def test_what_is_being_written_is_not_listed(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / ".writing-123").write_bytes(b"half")
        store = FolderStore(tmp_path)
        assert list(store.keys("")) == []
        assert store.children("a") == []

    def test_a_file_as_store_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="it is a file"):
            FolderStore(tmp_path / "file")

    def test_an_unknown_scheme_is_refused(self) -> None:
        with pytest.raises(StoreError, match="s33"):
            open_store("s33://bucket")

    @pytest.mark.parametrize("write", ["put", "create"])
    def test_a_full_disk_leaves_nothing_half_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
    ) -> None:
        real: Callable[[Path, bytes], int] = Path.write_bytes

        def full(path: Path, data: bytes) -> int:
            real(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store = FolderStore(tmp_path)
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="disk is full"):
            getattr(store, write)("a/b", b"12345678")
        monkeypatch.undo()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_a_folder_inside_a_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        with pytest.raises(StoreError):
            FolderStore(tmp_path).put("a/b", b"")
