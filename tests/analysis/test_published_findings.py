"""docs/findings: the archive of results gives the figures and verdicts of every published page, without training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis import findings
from analysis.report import build, formats
from sweeps.store.open import open_store

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "findings"
PAGES = sorted(page.stem for page in FOLDER.glob("*-small.md"))
QUICK = ("fill-refinement-small",)
"""Checked in each run of the tests; a page takes a second or two."""
SECTIONS = ("Claims", "Results", "Differences")


def figures(page: str) -> dict[str, list[str]]:
    """The numbers and verdicts of the sections that state results, in their order, whatever the words around them."""
    parts = {part.partition("\n")[0].strip(): part for part in re.split(r"(?m)^## ", page)[1:]}
    return {
        name: re.findall(r"[−+-]?\d[\d,]*(?:\.\d+)?|holds|does not hold|undecided|not tested", parts[name])
        for name in SECTIONS
        if name in parts
    }


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in PAGES])
def test_the_archive_gives_the_figures_of_the_page(name: str) -> None:
    report = build.build(open_store(str(FOLDER / findings.ARCHIVE)), name)
    drawn = figures(formats.files(report, ["md"])[f"{name}.md"].decode())
    assert drawn["Results"], "the page has a table"
    assert drawn == figures((FOLDER / f"{name}.md").read_text())


def test_every_page_is_in_the_index() -> None:
    index = (FOLDER / "index.md").read_text()
    assert [name for name in PAGES if f"({name}.md)" not in index] == []
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 15 * 2**20
