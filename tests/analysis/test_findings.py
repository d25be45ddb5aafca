"""docs/findings: pages of finished sweeps and an index of all claims, also from the archive, without local paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import findings
from sweeps.spec import studies
from sweeps.store.archive.pack import pack
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from tests.analysis.make_store import ArmSpec, make_store

NAME = "partial-conv"
CLAIM = {"text": "B is better", "metric": "test/psnr_db", "better": "B", "than": "A", "source": "section 1"}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    root = tmp_path / "store"
    make_store(root, [ArmSpec("C", 25.0)], range(7, 9), [], name="half", change=lambda plan: plan.update(size="tiny"))
    return make_store(root, [ArmSpec("A", 25.0), ArmSpec("B", 27.0)], range(4), [CLAIM])


def test_a_page_and_an_index_with_every_claim(store: FolderStore, tmp_path: Path) -> None:
    out = tmp_path / "findings"
    files = [study.path for study in studies.studies()]
    assert findings.write(store, out, [NAME, "half"], files) == [out / f"{NAME}.md"], "tiny forms have no page"
    index = (out / "index.md").read_text()
    assert f"[{NAME}]({NAME}.md)" in index
    judged = next(line for line in index.splitlines() if line.startswith(f"| {NAME} | B is better"))
    assert "section 1" in judged
    assert "holds" in judged
    assert index.count("not run") > 100, "claims of studies without results"
    assert "| ours, of no document |" in index
    assert "\n| section 1 | 1 | 1 | 0 | 0 | 0 | 0 |\n" in index, "one claim, which holds"
    page = (out / f"{NAME}.md").read_text()
    assert str(tmp_path) not in page + index
    linked = {part.partition(")")[0] for part in page.split("](")[1:] if "://" not in part}
    assert linked <= {path.name for path in out.iterdir()} | {findings.ARCHIVE}
    assert any(name.endswith(".webp") for name in linked)
    assert not any("-worst-" in name for name in linked), "pictures of single images are left out"


def test_from_the_archive_the_index_is_the_same_and_pages_of_others_stay(store: FolderStore, tmp_path: Path) -> None:
    out = tmp_path / "findings"
    findings.write(store, out, [NAME])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    pack(store, [], out / findings.ARCHIVE, ())
    assert findings.write(open_store(str(out / findings.ARCHIVE)), out) == []
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != findings.ARCHIVE} == before
