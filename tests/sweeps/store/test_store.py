"""The store's contract, against every backend."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import boto3
import pytest

from sweeps.errors import StoreError
from sweeps.parallel import parallel_map
from sweeps.store.base import TEMPORARY, Abandoned, Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from sweeps.store.s3 import store as s3_store
from tests.s3servers import Server, address


def begin_write(store: Store, key: str) -> None:
    """What a process leaves that is killed while it writes a large object."""
    if isinstance(store, FolderStore):
        (store.root / key).with_name(f"{TEMPORARY}0123").write_bytes(b"pa")
    else:
        assert isinstance(store, s3_store.S3Store)
        store._client.now().create_multipart_upload(Bucket=store._bucket, Key=store._name(key))


class Contract:
    """The contract; subclasses for each backend provide the fixture `store`."""

    dates_uploads = True
    """Whether the backend knows when an unfinished write began."""

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

    def test_writes_that_never_ended_are_removed(self, store: Store) -> None:
        store.put("t/whole", b"1")
        begin_write(store, "t/part")
        if self.dates_uploads:
            assert store.remove_unfinished(older_than_s=60) == 0, "it may still be going on"
        assert store.remove_unfinished(older_than_s=-60) == 1
        assert store.remove_unfinished(older_than_s=-60) == 0
        assert list(store.keys("")) == ["t/whole"]

    def test_delete_forgives_absent_keys(self, store: Store) -> None:
        store.put("d/1", b"")
        store.delete(["d/1", "d/2"])
        assert list(store.keys("d/")) == []

    @pytest.mark.parametrize(
        "key",
        [
            *("", "/etc/passwd", "../x", "a/../b", "a//b", "a/.", "a\0b", ".writing-x", "a\\..\\b", "C:/x", "C:x"),
            *("a/%2e%2e/b", "a/.%2E/b", "a%2fb", "a%5Cb", "a%00b", "a\nb", "a\x7fb"),
        ],
    )
    def test_a_key_cannot_leave_the_store(self, store: Store, key: str) -> None:
        for act in (
            store.get,
            lambda k: store.put(k, b""),
            lambda k: store.create(k, b""),
            lambda k: store.exists_many([k]),
            lambda k: store.find([k]),
            lambda k: store.delete([k]),
        ):
            with pytest.raises(StoreError):
                act(key)

    def test_it_opens_again_by_its_address(self, store: Store) -> None:
        store.put("here", b"x")
        assert open_store(store.uri).get("here") == b"x"

    def test_large_objects(self, store: Store) -> None:
        data = os.urandom(33 * 2**20)
        store.put("large", data)
        assert store.get("large") == data

    def test_many_are_created_once(self, store: Store) -> None:
        store.put("c/1", b"old")
        assert store.create_many((f"c/{i}", b"new") for i in range(3)) == {"c/0", "c/2"}
        assert store.get("c/1") == b"old"

    def test_find_gives_what_is_under_many_prefixes(self, store: Store) -> None:
        for key in ("t/a/result/1", "t/a/result/2", "t/a/other", "t/b/result/1", "t/c/x", "u"):
            store.put(key, b"1")
        found = store.find(["t/a/result/", "t/b/result/", "t/none/", "u", "t/c/y"])
        assert set(found) == {"t/a/result/1", "t/a/result/2", "t/b/result/1", "u"}
        assert len(store.find([*found, "t/a/other"])) == 5

    def test_a_version_changes_with_the_object(self, store: Store) -> None:
        store.put("v", b"1")
        first = store.find(["v"])
        assert store.find(["v"]) == first
        store.put("v", b"2")
        assert store.find(["v"]) != first

    def test_more_than_a_page(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page of a listing of S3 has a thousand objects; here it has twenty."""
        monkeypatch.setattr(s3_store, "PAGE", 20)
        store.create_many((f"p/{i:04d}/{part}", b"") for i in range(16) for part in "abcd")
        assert len(list(store.keys("p/"))) == 64
        assert len(store.children("p")) == 16
        wanted = [f"p/{i:04d}/b" for i in range(0, 18, 2)]
        assert store.exists_many(wanted) == set(wanted[:-1])
        assert len(store.find(["p/0001/", "p/0009/"])) == 8
        store.delete(store.keys("p/"))
        assert store.children("p") == []

    def test_an_abandoned_write_leaves_nothing(self, store: Store) -> None:
        with pytest.raises(Abandoned):
            store.put("a/b", b"x" * 40_000_000, abandoned=lambda: True)
        assert store.find(["a/"]) == {}


class TestMoto(Contract):
    dates_uploads = False  # the server dates each of them 2010

    @pytest.fixture
    def store(self, moto: Server, aws: pytest.MonkeyPatch) -> Store:
        aws.setenv("AWS_ENDPOINT_URL", moto.url)
        return open_store(address())

    def test_objects_that_could_leave_a_folder_are_not_listed(self, store: Store) -> None:
        """S3 allows names that a folder does not: copied to a folder, they would lead out of it."""
        client = boto3.client("s3")
        bucket, _, prefix = store.uri.removeprefix("s3://").partition("/")
        for name in ("a/../../evil", "a//etc/passwd", "a/b\\..\\evil", "a/%2e%2e/evil", "a/b"):
            client.put_object(Bucket=bucket, Key=f"{prefix}/{name}".lstrip("/"), Body=b"")
        assert list(store.keys("a/")) == ["a/b"]
        assert set(store.find(["a/"])) == {"a/b"}


class TestRclone(Contract):
    @pytest.fixture
    def store(self, rclone: Server, aws: pytest.MonkeyPatch) -> Store:
        aws.setenv("AWS_ENDPOINT_URL", rclone.url)
        return open_store(address())

    def test_of_stores_in_several_processes_one_creates(self, store: Store) -> None:
        """Without conditional writes, `create` writes, waits and reads back."""
        stores = [open_store(store.uri) for _ in range(4)]
        assert not any(other.exclusive for other in stores)
        wins = parallel_map(lambda n: stores[n].create("race", str(n).encode()), range(4), 4)
        assert sum(wins) == 1
        assert store.get("race") == str(wins.index(True)).encode()


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

    @pytest.mark.parametrize("link", ["t", "t/a", "t/a/b.json"])
    @pytest.mark.parametrize("leads", ["elsewhere", "store", "nowhere"])
    def test_a_link_in_the_store_is_refused_by_name(self, tmp_path: Path, link: str, leads: str) -> None:
        root, key = tmp_path / "store", "t/a/b.json"
        FolderStore(root).put("other", b"")
        target = {"elsewhere": tmp_path / "elsewhere", "store": root / "linked", "nowhere": tmp_path / "gone"}[leads]
        if leads != "nowhere":
            FolderStore(target).put(key, b"secret")
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target / link)
        store = FolderStore(root)
        for act in (
            lambda: store.get(key),
            lambda: store.get_many([key]),
            lambda: store.put(key, b"changed"),
            lambda: store.create(key, b"changed"),
            lambda: store.exists_many([key]),
            lambda: store.find([key]),
            lambda: store.delete([key]),
            lambda: list(store.keys(f"{link}/")),
            lambda: store.children(link),
        ):
            with pytest.raises(StoreError, match="symbolic link"):
                act()
        assert "t/a/b.json" not in list(store.keys(""))
        assert store.children(link.rpartition("/")[0]) == (["linked", "other"] if leads == "store" else ["other"]) * (
            "/" not in link
        )
        assert list(store.links()) == [link]
        if leads != "nowhere":
            assert FolderStore(target).get(key) == b"secret"

    def test_the_whole_store_may_be_a_link(self, tmp_path: Path) -> None:
        FolderStore(tmp_path / "real").put("a/b", b"x")
        (tmp_path / "link").symlink_to("real")
        assert FolderStore(tmp_path / "link").get("a/b") == b"x"

    def test_a_file_as_store_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="it is a file"):
            FolderStore(tmp_path / "file")

    def test_an_unknown_scheme_is_refused(self) -> None:
        with pytest.raises(StoreError, match="s33"):
            open_store("s33://bucket")

    @pytest.mark.parametrize(
        "typo", ["s3:/bucket/x", "s3:bucket/x", "S3://bucket/x", "s3a://bucket/x", "sn3://bucket/x"]
    )
    def test_a_mistyped_scheme_says_what_to_type(self, typo: str) -> None:
        with pytest.raises(StoreError) as error:
            open_store(typo)
        assert error.value.fix == "--store s3://bucket/x"

    @pytest.mark.parametrize("given", ["s3://", "s3:///x", "s3://key:secret@bucket/x", "s3://b/../x"])
    def test_an_address_without_a_bucket_is_refused(self, given: str) -> None:
        with pytest.raises(StoreError):
            open_store(given)

    @pytest.mark.parametrize("write", ["put", "create"])
    def test_a_full_disk_leaves_nothing_half_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
    ) -> None:
        def full(descriptor: int) -> None:
            os.truncate(descriptor, 4)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store = FolderStore(tmp_path)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="disk is full"):
            getattr(store, write)("a/b", b"12345678")
        monkeypatch.undo()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_a_folder_inside_a_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        with pytest.raises(StoreError):
            FolderStore(tmp_path).put("a/b", b"")


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A folder that one process empties may vanish while another one writes to it."""
    store = FolderStore(tmp_path / "store")

    def work(writer: int) -> None:
        for _ in range(150):
            store.put(f"trials/x/checkpoint/{writer}/1/f", b"1")
            store.delete([f"trials/x/checkpoint/{writer}/1/f"])

    parallel_map(work, range(4), 4)
    assert list(store.keys("")) == []
