"""Tables by epoch with published values, also for shorter runs; tables by test mask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from analysis import studies
from analysis.report import build as report
from analysis.report import formats, render
from analysis.report.sections import by_epoch_and_mask
from analysis.study import Study
from sweeps.store import layout
from tests.analysis.make_store import NOW, ArmSpec, make_store

ARMS = (ArmSpec("w = 1", 19.0, published="l2_weight=1"), ArmSpec("w = 0", 12.0, published="l2_weight=0"))
FILL = ArmSpec("fill", 15.0, trains=False)
REFERENCE = {
    "study": "003_4e78e639d4f1fa33",
    "table": "epochs",
    "columns": {"test/psnr_db": "psnr_db", "test/l2_raw": "l2"},
}


def study(root: Path, test_epochs: list[int], scaled: tuple[int, int] | None) -> Study:
    def change(plan: dict[str, Any]) -> None:
        plan["report"] |= {"test_epochs": test_epochs, "published": REFERENCE}
        plan["epochs_scaled"] = scaled

    return studies.read(make_store(root, (*ARMS, FILL), range(4), [], change=change), "partial-conv", NOW)


def at_epochs(root: Path, epochs: list[int]) -> Study:
    """The study with its two tested epochs, 10 and 20, named otherwise."""
    found = study(root, epochs, None)
    numbers = found.records["epoch"].replace(dict(zip([10, 20], epochs, strict=True)))
    keep = found.records["test/psnr_db"].notna()
    arms = tuple(
        replace(arm, trials={seed: (trial, epochs[-1] if arm.trains else 0) for seed, (trial, _) in arm.trials.items()})
        for arm in found.arms
    )
    return replace(found, records=found.records.assign(epoch=numbers)[keep], arms=arms)


def test_published_values_stand_beside_the_same_epoch(tmp_path: Path) -> None:
    psnr, l2 = by_epoch_and_mask.by_epoch(at_epochs(tmp_path, [100, 200]))
    assert (psnr.metric, l2.metric) == ("test/psnr_db", "test/l2_raw")
    assert psnr.headings == ["epoch 100", "epoch 200"]
    assert list(psnr.rows) == ["w = 1", "w = 0"], "fills have no epochs"
    ours, theirs = psnr.rows["w = 0"][0]
    assert ours is not None
    assert ours.n == 4
    assert "9.6260" in theirs
    assert psnr.rows["w = 1"][1][1] == "20.7012 / 19.0879"
    assert psnr.note == ""


def test_an_epoch_that_was_not_published_has_an_empty_cell_and_a_note(tmp_path: Path) -> None:
    table = by_epoch_and_mask.by_epoch(at_epochs(tmp_path, [151, 200]))[0]
    assert [[theirs for _, theirs in row] for row in table.rows.values()] == [["", "20.7012 / 19.0879"], ["", ANY]]
    assert "the other epochs have no published value" in table.note


@pytest.mark.parametrize("scaled", [None, (200, 20)])
def test_a_shorter_run_has_no_published_values(tmp_path: Path, scaled: tuple[int, int] | None) -> None:
    """A tenth of their epochs is not their training: epoch 20 of 20 does not stand beside their epoch 200."""
    short = study(tmp_path, [10, 20], scaled)
    for table in by_epoch_and_mask.by_epoch(short):
        assert table.headings == ["epoch 10", "epoch 20"]
        assert not any(theirs for row in table.rows.values() for _, theirs in row)
        assert "none of these epochs, so no published value is shown" in table.note
    made = report.build(short.store, "partial-conv", NOW)
    for text in (formats.markdown(made), formats.html(made), formats.tex(made)):
        assert "none of these epochs" in text
    assert "[20.7012 / 19.0879]" not in formats.markdown(made)


def test_one_epoch_makes_no_table(tmp_path: Path) -> None:
    assert by_epoch_and_mask.by_epoch(study(tmp_path, [], None)) == []


def test_trained_on_by_tested_on_is_in_every_format(tmp_path: Path) -> None:
    """Columns are test masks; every cell has its interval and n."""
    metrics = ["test/psnr_db", "test/psnr_db_on_lines", "test/psnr_db_on_files"]

    def change(plan: dict[str, Any]) -> None:
        plan["report"]["metrics"] = metrics

    def scored(result: dict[str, Any], seed: int) -> None:
        for metric in metrics[1:]:
            result["history"][metric] = [None if v is None else v + seed for v in result["history"]["test/psnr_db"]]

    arms = [ArmSpec("on lines & more", 26.0), ArmSpec("on files", 27.0)]
    store = make_store(tmp_path, arms, range(4), [], change=change)
    for cell in studies.read(store, "partial-conv", NOW).cells:
        key = layout.result_key(cell.trial, cell.epochs)
        result = json.loads(store.get(key))
        scored(result, cell.seed)
        store.put(key, layout.dump(result))
    made = report.build(store, "partial-conv", NOW)
    interval = made.study.interval("on files", metrics[2])
    assert interval is not None
    shown = render.mean_text(interval, by_epoch_and_mask.by_mask(made.study)[0].digits)
    assert "±" in shown
    assert "(n=4)" in shown
    for text in (formats.html(made), formats.markdown(made), formats.tex(made).replace(r"\ensuremath{\pm}", "±")):
        section = text[text.lower().index("by test set") :]
        assert section.count(shown) >= 2, "on lines and on files"
    assert r"{}on lines \& more & " in formats.tex(made)


def test_scores_under_several_masks_are_one_table(tmp_path: Path) -> None:
    """Rows are arms, columns test masks; a single test mask gives no table."""

    def change(plan: dict[str, Any]) -> None:
        plan["report"]["metrics"] = [
            "test/psnr_db",
            "test/psnr_db_on_lines",
            "test/psnr_db_on_files",
            "test/l1_on_lines",
        ]

    store = make_store(tmp_path, (*ARMS, FILL), range(4), [], change=change)
    study = studies.read(store, "partial-conv", NOW)
    values = study.records["test/psnr_db"]
    scored = study.records.assign(**{"test/psnr_db_on_lines": values + 1, "test/psnr_db_on_files": values - 1})
    [table] = by_epoch_and_mask.by_mask(replace(study, records=scored))
    assert (table.metric, table.headings) == ("test/psnr_db", ["on lines", "on files"])
    assert list(table.rows) == ["w = 1", "w = 0", "fill"]
    (lines, _), (files, _) = table.rows["w = 0"]
    assert lines is not None
    assert files is not None
    assert lines.mean - files.mean == pytest.approx(2)
    assert by_epoch_and_mask.by_mask(study)[0].rows == {}
