"""Fixtures of the tests of `cluster.connection`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.small import FILL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current working directory, with a sweep in it."""
    here = tmp_path / "work"
    here.mkdir()
    (here / "fill.yaml").write_text(FILL)
    monkeypatch.chdir(here)
    return here
