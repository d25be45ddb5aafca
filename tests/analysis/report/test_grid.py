"""The report of a grid without arms: the effects of its factors first, then cells and their differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from analysis.report import build as report
from analysis.report import content, formats
from analysis.report.paper import effects
from sweeps.store.local import FolderStore
from tests.analysis.make_store import NOW, ArmSpec, make_store

PSNR = "test/psnr_db"
WEIGHTS = {"tv=0": 0.0, "tv=0.1": 0.8}
RATES = {"lr=0.01": 0.0, "lr=0.001": 0.3}


def cell(levels: dict[str, str], psnr: float, **options: Any) -> ArmSpec:
    name = ", ".join(levels.values())
    return ArmSpec(name, psnr, factors=levels, baseline="tv=0, lr=0.01", **options)


def store(root: Path, masks: bool = False, **options: Any) -> FolderStore:
    """Two weights by two rates, whose effects add up. masks: let the factors change the test masks, too."""
    cells = [
        cell({"loss.tv": tv, "optimiser.lr": lr}, 24 + more + better, **options)
        for tv, more in WEIGHTS.items()
        for lr, better in RATES.items()
    ]

    def same_masks(plan: dict[str, Any]) -> None:
        for arm in plan["arms"]:
            for key in () if masks else ("loss.tv", "optimiser.lr"):
                arm["config"]["mask"].pop(key, None)

    return make_store(root, cells, range(8), [], change=same_masks)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> content.Report:
    return report.build(store(tmp_path_factory.mktemp("grid")), "partial-conv", NOW)


def test_effects_are_the_first_table_of_every_format(made: content.Report) -> None:
    assert [paper.title for paper in made.papers] == ["Effects", "Results", "Differences"]
    html, text, tex = formats.html(made), formats.markdown(made), formats.tex(made)
    for document, heads in ((html, 'id="{}"'), (text, "## {}")):
        order = ["effects", "factors", "results", "differences"]
        titles = {"factors": "By two factors"} | {name: name.capitalize() for name in order if name != "factors"}
        places = [document.index(heads.format(name if "id=" in heads else titles[name])) for name in order]
        assert places == sorted(places)
        assert document.count(heads.format("factors" if "id=" in heads else titles["factors"])) == 1
    assert "-effects}" in tex


def test_an_effect_is_averaged_over_the_other_factors(made: content.Report) -> None:
    study, (table, *_) = made.study, made.papers
    assert [row.name for row in table.rows] == ["tv=0.1 instead of tv=0", "lr=0.001 instead of lr=0.01"]
    both = [sum(study.differences(f"tv=0.1, {lr}", f"tv=0, {lr}", PSNR)) / len(study.seeds) for lr in RATES]
    first = table.rows[0].figures[0]
    assert float(first.mean) == pytest.approx(sum(both) / 2, abs=0.01)
    assert first.signs == ("*",)
    assert "n = 8." in table.notes


def test_cells_are_compared_with_the_first_one(made: content.Report) -> None:
    differences = made.papers[2]
    assert [row.name for row in differences.rows] == ["tv=0, lr=0.001", "tv=0.1, lr=0.01", "tv=0.1, lr=0.001"]
    assert "“tv=0, lr=0.01”" in differences.notes[0]
    (cross, *_) = made.crosses
    assert (cross.row_factor, cross.column_factor) == ("tv", "lr")
    assert [effect.name for effect in cross.effects] == ["tv", "lr", "tv × lr"]


def test_only_seeds_of_all_cells_count(tmp_path: Path) -> None:
    found = report.build(store(tmp_path, states={7: "failed"}), "partial-conv", NOW)
    assert "n = 7." in found.papers[0].notes


def test_levels_with_other_test_images_are_not_compared(tmp_path: Path) -> None:
    assert effects.changes(studies.read(store(tmp_path, masks=True), "partial-conv", NOW)) is None


def test_named_arms_have_no_effects(tmp_path: Path) -> None:
    made = report.build(make_store(tmp_path), "partial-conv", NOW)
    assert [paper.title for paper in made.papers] == ["Results", "Differences"]


def test_figures_are_written_for_papers(made: content.Report) -> None:
    found = formats.files(made, ["svg", "pdf"])
    assert list(found) == [
        f"partial-conv-{name}.{form}" for form in ("svg", "pdf") for name in ("curves", "interaction")
    ]
    for name, data in found.items():
        assert data.startswith(b"%PDF-" if name.endswith("pdf") else b"<?xml"), name
        assert b"CreationDate" not in data
    assert found == formats.files(made, ["svg", "pdf"]), "the same results give the same files"
