"""The installed pytest and pytest-xdist group tests, and a run in which they do not fails.

pytest 9.2 with pytest-xdist 3.8 dealt out single tests without a word: Ray, the S3 servers and Chromium started twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """\
import os
import pytest
from tests.grouping import check_groups

def pytest_configure(config):
    check_groups(config)

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items if not os.environ.get("UNGROUPED") else []:
        item.add_marker(pytest.mark.xdist_group(item.name.split("_")[1]))
"""
TESTS = """\
import pytest

@pytest.mark.parametrize("number", range(8))
def test_ray_like(number, request):
    print("ID", request.node.nodeid)

@pytest.mark.parametrize("number", range(8))
def test_browser_like(number, request):
    print("ID", request.node.nodeid)
"""


def run(folder: Path, **environment: str) -> tuple[int, str]:
    """Sixteen tests of two groups in two processes. Returns exit code and output."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_sixteen.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    options = ["-n", "2", "--dist", "loadgroup", "-v", "-rP", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(folder), *options],
        env={**kept, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_each_group_runs_in_one_process_and_its_ids_say_so(tmp_path: Path) -> None:
    code, output = run(tmp_path)
    assert code == 0, output
    processes = {}
    for group in ("ray", "browser"):
        lines = [line for line in output.splitlines() if line.startswith("[gw") and f"test_{group}_like" in line]
        processes[group] = {line.partition("]")[0] for line in lines}
        assert len(lines) == 8, output
        assert all(line.endswith(f"@{group} ") or line.endswith(f"@{group}") for line in lines), output
    assert [len(found) for found in processes.values()] == [1, 1], output


def test_a_run_that_does_not_group_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, UNGROUPED="1")
    assert code == 1, output
    assert "test_sixteen.py: the ids of its tests name no group" in output


@pytest.mark.ray
def test_every_test_that_needs_ray_is_in_one_group(request: pytest.FixtureRequest) -> None:
    """Of this very run; `GroupCheck` watches that the group has one process."""
    for item in request.session.items:
        names = [mark.args[0] for mark in item.iter_markers("xdist_group")]
        uses_ray = {"ray_cluster", "guarded"} & set(getattr(item, "fixturenames", ()))
        assert len(names) == 1, item.nodeid
        assert (names == ["ray"]) == bool(uses_ray or item.get_closest_marker("ray")), item.nodeid
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@ray")
