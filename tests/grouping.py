"""Decides which tests share a process, and checks that they did.

`pytest -n 2 --dist loadgroup` gives all tests of one group to one process, so that Ray, the S3 servers and Chromium are
started once. pytest-xdist appends the group to the test's id, as in `test_runs.py::test_a@ray`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

RAY, S3, BROWSER = "ray", "s3", "browser"
_FIRST = (RAY, "test_studies.py", S3, "test_golden.py", "test_distributed.py", BROWSER)
"""The groups that take longest, in the order in which they start; the others follow in the order of collection."""
_FIXTURES = {RAY: {"ray_cluster", "guarded"}, S3: {"moto", "rclone"}, BROWSER: {"reader"}}


def group(items: list[pytest.Item]) -> None:
    """Mark each test with its group, and sort the tests so that no long group starts last.

    Tests that use Ray, by a fixture or by the mark `ray`, are one group. Of the others, the files with a test that
    needs an S3 server are one group, as are those that need a browser; every other file is a group by itself.
    """
    by_file: dict[Path, str] = {}
    for item in items:
        if (needs := _needs(item)) not in ("", RAY):
            by_file[item.path] = needs
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_name(item, by_file)))
    names = [*_FIRST, *dict.fromkeys(_name(item, by_file) for item in items)]
    items.sort(key=lambda item: names.index(_name(item, by_file)))


def _name(item: pytest.Item, by_file: dict[Path, str]) -> str:
    return RAY if _needs(item) == RAY else by_file.get(item.path, item.path.name)


def _needs(item: pytest.Item) -> str:
    """The shared process that a test needs itself; Ray has precedence."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if item.get_closest_marker("ray"):
        return RAY
    return next((name for name, needed in _FIXTURES.items() if needed & fixtures), "")


class GroupCheck:
    """Plugin of the process that distributes the tests: fails the run if a group ran in several processes."""

    def __init__(self) -> None:
        self._processes: dict[str, set[str]] = defaultdict(set)
        self._without_group: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        node = getattr(report, "node", None)  # set by pytest-xdist if it runs processes
        if node is None:
            return
        _, mark, name = report.nodeid.rpartition("@")
        if mark:
            self._processes[name].add(node.gateway.id)
        else:
            self._without_group.add(report.nodeid.partition("::")[0])

    def faults(self) -> list[str]:
        """One line for each group that ran in several processes and for each file whose tests had no group."""
        spread = {name: ids for name, ids in self._processes.items() if len(ids) > 1}
        lines = [f"group {name!r} ran in {', '.join(sorted(ids))}" for name, ids in sorted(spread.items())]
        return lines + [f"{file}: the ids of its tests name no group" for file in sorted(self._without_group)]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.faults() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if faults := self.faults():
            terminalreporter.section("tests that share a process were dealt out one by one", red=True)
            for line in [*faults, "install the versions of pytest and pytest-xdist in requirements.lock"]:
                terminalreporter.line(line)


def check_groups(config: pytest.Config) -> None:
    """Add the check to a run with `--dist loadgroup`."""
    if config.getoption("dist", "no") == "loadgroup" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(GroupCheck(), "group-check")
