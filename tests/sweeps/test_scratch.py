"""Temporary folders: removed at their end, by a later run after SIGKILL, and never while they are in use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import scratch
from sweeps.errors import SweepError

HOLDS = "import sys\nfrom sweeps import scratch\nprint(scratch.new_folder('test'), flush=True)\nsys.stdin.read()\n"


@pytest.fixture(autouse=True)
def folder_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_SHORT", str(tmp_path))


def test_a_folder_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with scratch.folder("test") as folder:
        (folder / "file").write_text("x")
        assert scratch.remove_abandoned(0) == 0
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_a_folder_that_a_later_run_removes(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(scratch.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert scratch.remove_abandoned(0) == 0, "its process is alive"
        process.kill()
    assert scratch.remove_abandoned(60) == 0, "its logs may be of use"
    assert scratch.remove_abandoned(0) == 1
    assert not folder.exists()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".in-use").touch()
    (tmp_path / "sweeps-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sweeps-without-lock").mkdir()
    assert scratch.remove_abandoned(0) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_a_long_parent_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = tmp_path / "s", tmp_path / ("l" * 100)
    short.mkdir()
    long.mkdir()
    monkeypatch.setattr(scratch, "_SHORT", str(short))
    for given, limit, parent in ((None, None, tmp_path), (str(long), 50, short), (str(long), None, long)):
        folder = scratch.new_folder("ray", given, limit)
        assert folder.parent == parent
        scratch.remove(folder)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no temporary folder can be made") as refused:
        scratch.new_folder("test", str(tmp_path / "absent"))
    assert "TMPDIR" in refused.value.fix
