"""Fingerprints of data: what counts, and that contents are read once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from trainables.config.data_paths import PUBLISHED, DataPath, of_patterns
from trainables.data import fingerprints
from trainables.data.sources.cifar import SETS
from trainables.errors import TrialError

OLD_NS = 10**18


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images that were written long ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "SETTLED_NS", -(10**10))
    (tmp_path / "data" / "imgs" / "cats").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "cats/c.png")):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "data" / "imgs" / name)
    return tmp_path / "data" / "imgs"


def digest(folder: Path, images: bool = True) -> str:
    found = fingerprints.fingerprints([DataPath("imgs", images=images)], folder.parent)
    return found["imgs"].digest


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []
    real = fingerprints.content_hash
    monkeypatch.setattr(fingerprints, "content_hash", lambda file: names.append(file.name) or real(file))
    return names


def test_contents_are_read_once_and_again_when_a_file_has_changed(folder: Path, hashed: list[str]) -> None:
    before = digest(folder)
    assert sorted(hashed) == ["a.png", "b.png", "c.png"]
    assert digest(folder) == before
    assert len(hashed) == 3

    stat = (folder / "b.png").stat()
    content = bytearray((folder / "b.png").read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)  # the clock of the file system
    (folder / "b.png").write_bytes(content)
    os.utime(folder / "b.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy that keeps times
    assert digest(folder) != before
    assert hashed[3:] == ["b.png"]


def test_a_file_that_has_just_changed_is_read_again(
    folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change once more within the resolution of its times."""
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 10**12)
    assert digest(folder) == digest(folder)
    assert len(hashed) == 6


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"a.png": 3}', b"\xff"])
def test_a_damaged_cache_is_passed_over(folder: Path, damage: bytes) -> None:
    before = digest(folder)
    (cache,) = (folder.parents[1] / "cache" / "inpaint-sweeps" / "fingerprints").iterdir()
    cache.write_bytes(damage)
    assert digest(folder) == before


@pytest.mark.parametrize("images", [True, False])
def test_names_contents_and_nothing_of_the_system_count(folder: Path, images: bool) -> None:
    before = digest(folder, images)
    for name in (".DS_Store", "Thumbs.db", "._a.png", "cats/.nfs0001", "cats/desktop.ini", "a.png~"):
        (folder / name).write_bytes(b"foreign")
    assert digest(folder, images) == before
    (folder / "a.png").rename(folder / "A.png")
    assert digest(folder, images) != before


def test_what_is_not_there_has_no_fingerprint(folder: Path) -> None:
    assert fingerprints.fingerprints([DataPath("none"), DataPath("imgs/cats/none.png")], folder.parent) == {}
    empty = folder / "empty"
    empty.mkdir()
    assert fingerprints.fingerprints([DataPath("imgs/empty", images=True)], folder.parent) == {}


def test_a_single_file_and_published_files(folder: Path, data_root: Path) -> None:
    (folder / "split.csv").write_text("file,split")
    one = fingerprints.fingerprints([DataPath("imgs/split.csv")], folder.parent)["imgs/split.csv"]
    assert one.files[""][0] == 10
    assert all(PUBLISHED[name] == (DataPath(published.folder, verified=True),) for name, published in SETS.items())
    cifar = fingerprints.fingerprints(PUBLISHED["cifar10"], data_root)["cifar-10-batches-py"]
    assert cifar.files["test_batch"] == ((data_root / "cifar-10-batches-py" / "test_batch").stat().st_size, "")


def test_patterns_stand_for_files_and_folders(folder: Path) -> None:
    def names(pattern: str) -> list[str]:
        found = fingerprints.fingerprints(of_patterns([pattern]), folder.parent)
        return sorted(found[pattern].files) if found else []

    every = names("imgs")
    assert names("imgs/**") == every
    assert names("imgs/*.png") == [name for name in every if "/" not in name]
    assert names("*/*.png") == [f"imgs/{name}" for name in every if "/" not in name]
    assert names(str(folder / "c*")) == [name for name in every if name.startswith("cats/")]
    (folder / ".hidden.png").write_bytes(b"x")
    assert names("imgs/*.png") == [name for name in every if "/" not in name]
    assert names("imgs/*.none") == []
    # Folders behind links count, also below `**`; a folder that contains itself is not entered twice.
    (folder.parent / "far" / "deep").mkdir(parents=True)
    (folder.parent / "far" / "deep" / "d.png").write_bytes(b"x")
    (folder / "link").symlink_to(folder.parent / "far")
    (folder / "link" / "self").symlink_to(folder)
    every = names("imgs")
    assert "link/deep/d.png" in every
    assert names("imgs/**/*.png") == every
    assert names("imgs/**/deep/*") == names("imgs/**/deep") == ["link/deep/d.png"]
    assert names("imgs/*/**/d*") == ["link/deep/d.png"]
    assert names("imgs/**/none/*") == []
    with pytest.raises(TrialError, match=r"no file in .* matches it"):
        fingerprints.check_reads(["imgs", "imgs/*.none"], folder.parent)


def test_patterns_that_share_a_folder_keep_their_hashes(folder: Path, hashed: list[str]) -> None:
    (folder / "a.csv").write_text("1")
    both = list(of_patterns(["imgs/*.png", "imgs/*.csv"]))
    found = fingerprints.fingerprints(both, folder.parent)
    assert sorted(hashed) == ["a.csv", "a.png", "b.png"]
    assert fingerprints.fingerprints(both, folder.parent) == found
    assert len(hashed) == 3
