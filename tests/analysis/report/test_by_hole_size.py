"""Tables by hole fraction, and holes that are not as large as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis import studies
from analysis.report import build as report
from analysis.report import figures, formats
from analysis.report.sections import by_hole_size, conditions
from tests.analysis.make_store import NOW, ArmSpec, make_store

SMALL, LARGE = "share_0_10", "share_30_40"


def arm(name: str, **values: float) -> ArmSpec:
    return ArmSpec(name, 25.0, columns={f"test/{metric}": value for metric, value in values.items()})


BOTH = arm(
    "both", **{f"psnr_db_{SMALL}": 30.0, f"psnr_db_{LARGE}": 22.0, f"images_{SMALL}": 1200, f"images_{LARGE}": 34}
)
ONE = arm("one", **{f"psnr_db_{SMALL}": 31.0, f"images_{SMALL}": 1300})


def test_a_table_for_each_metric_with_several_shares(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path, (BOTH, ONE, ArmSpec("older", 24.0)), range(2), []), "partial-conv", NOW)
    (table,) = by_hole_size.tables(study)
    assert (table.metric, table.shares) == ("test/psnr_db", ["0 to 10 %", "30 to 40 %"])
    assert table.images == ["1,200 to 1,300 images, by arm", "34 images"]
    assert [found and found.mean for found in table.rows["both"]] == [30.0, 22.0]
    assert [found and found.mean for found in table.rows["one"]] == [31.0, None]
    assert "older" not in table.rows
    assert not any("share" in column for column in figures.curve_columns(study))


def test_it_stands_in_the_report_with_n(tmp_path: Path) -> None:
    found = report.build(make_store(tmp_path, (BOTH, ONE), range(2), []), "partial-conv", NOW)
    assert 'id="shares"' in formats.html(found)
    row = next(line for line in formats.markdown(found).splitlines() if line.startswith("| both") and "22" in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["30.00 ± 0.00 (n=2)", "22.00 ± 0.00 (n=2)"]


def test_one_share_alone_is_no_section(tmp_path: Path) -> None:
    found = report.build(
        make_store(tmp_path, (ONE, ONE.__class__("other", 20.0, columns=ONE.columns)), range(2), []),
        "partial-conv",
        NOW,
    )
    assert by_hole_size.tables(found.study) == []
    assert 'id="shares"' not in formats.html(found)
    assert "By hole fraction" not in formats.markdown(found)


def test_holes_that_are_not_as_large_as_asked_are_told(tmp_path: Path) -> None:
    """Without `fraction`, a mask asks for no share of the image."""
    asked = replace(arm("asked", hole_fraction=0.05), factors={"fraction": [0.2, 0.3]})
    arms = (arm("usual"), arm("thin", hole_fraction=0.004), asked)
    study = studies.read(make_store(tmp_path, arms, range(2), []), "partial-conv", NOW)
    assert conditions.unexpected_holes(study) == [
        "Holes cover 0.4 % of the pixels of the test images, not 1 to 70 % (“thin”).",
        "Holes cover 5.0 % of the pixels of the test images, not the 20 to 30 % of `mask.fraction` (“asked”).",
    ]


def test_conditions_tell_the_splits_and_the_holes_asked_and_measured(tmp_path: Path) -> None:
    asked = replace(arm("asked", hole_fraction=0.24), factors={"fraction": [0.2, 0.3]})
    study = studies.read(make_store(tmp_path, (asked, ONE), range(2), []), "partial-conv", NOW)
    images = {"train": 4000, "val": 500, "test": 1000}
    results = {
        key: {**result, "provenance": {**result["provenance"], "images": images}}
        for key, result in study.results.items()
    }
    told = dict(conditions.conditions(replace(study, results=results)))
    assert told["images"] == "4,000 train, 500 val, 1,000 test"
    assert told["hole fraction"].startswith("20 to 30 % asked; ")
    assert told["hole fraction"].endswith("of the pixels of the test images, measured")
    assert "24.0 %" in told["hole fraction"]


@pytest.mark.parametrize("fill", [True, False])
def test_a_sweep_without_a_fill_is_warned_of(tmp_path: Path, fill: bool) -> None:
    arms = [ArmSpec("net", 25.0), ArmSpec("telea", 24.0, trains=not fill)]
    made = report.build(make_store(tmp_path, arms, range(2), []), "partial-conv", NOW)
    for text in (formats.html(made), formats.markdown(made)):
        assert ("No arm is a fill without training" in text) == (not fill)
