"""Two-factor studies: the cross table, effects against a blocked analysis of variance, the plot."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import studies
from analysis.report import build as report
from analysis.report import formats
from analysis.statistics import factors
from sweeps.store.local import FolderStore
from tests.analysis.make_store import NOW, ArmSpec, make_store

PSNR = "test/psnr_db"
HOLES = ("small hole", "large hole")


def arms(interaction: float = 0.0) -> list[ArmSpec]:
    """Two networks and a fill, at two sizes of hole; the second network gains `interaction` dB at large holes."""
    found = []
    for hole, cost in zip(HOLES, (0.0, 3.0), strict=True):
        level = {"factors": {"mask": hole}, "baseline": f"net, {hole}"}
        extra = interaction if cost else 0.0
        found += [
            ArmSpec(f"net, {hole}", 26.0 - cost, sd=0.3, **level),
            ArmSpec(f"other, {hole}", 26.5 - cost + extra, sd=0.3, **level),
            ArmSpec(f"fill, {hole}", 22.0 - cost, trains=False, **level),
        ]
    return found


def table(root: Path, interaction: float = 0.0, seeds: int = 8) -> factors.CrossTable:
    store = make_store(root, arms(interaction), range(seeds), [])
    found = factors.cross(studies.read(store, "partial-conv", NOW), PSNR)
    assert found is not None
    return found


def test_rows_are_arms_and_columns_levels(tmp_path: Path) -> None:
    found = table(tmp_path)
    assert (found.row_factor, found.rows) == ("arm", ["net", "other", "fill"])
    assert (found.column_factor, found.columns) == ("mask", list(HOLES))
    assert found.cells["net", "large hole"].mean == pytest.approx(22.9, abs=0.3)
    assert found.text("net", "small hole").endswith("(n=8)")
    assert found.text("fill", "small hole").endswith("(exact)")


def test_effects_are_those_of_a_complete_block_design(tmp_path: Path) -> None:
    """F statistics of main effects and interaction by hand, from sums of squares of rows, columns, cells and seeds."""
    store = make_store(tmp_path, arms(0.8), range(8), [])
    study = studies.read(store, "partial-conv", NOW)
    values = np.array(
        [[list(study.values(f"{net}, {hole}", PSNR).values()) for hole in HOLES] for net in ("net", "other")]
    )
    grand, (a, b, n) = values.mean(), values.shape
    row = b * n * ((values.mean((1, 2)) - grand) ** 2).sum()
    column = a * n * ((values.mean((0, 2)) - grand) ** 2).sum()
    both = n * ((values.mean(2) - grand) ** 2).sum() - row - column
    block = a * b * ((values.mean((0, 1)) - grand) ** 2).sum()
    residual = ((values - grand) ** 2).sum() - row - column - both - block
    mean_square = residual / (a * b * n - a * b - (n - 1))
    found = factors.cross(study, PSNR)
    assert found is not None
    assert [effect.name for effect in found.effects] == ["arm", "mask", "arm × mask"]
    assert [effect.f for effect in found.effects] == pytest.approx(
        [x / mean_square for x in (row, column, both)], rel=1e-3
    )
    assert found.effects[0].freedom == (1, 21)
    assert all(effect.p is not None and effect.p < 0.05 for effect in found.effects)


@pytest.mark.slow
def test_no_interaction_is_mostly_found_where_there_is_none() -> None:
    """False positives of the interaction stay near 5 % of 200 simulated studies with 5 seeds."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        data = pd.DataFrame(
            [(a, b, s, value) for a in "xy" for b in "uv" for s, value in enumerate(rng.normal(size=5))],
            columns=["a", "b", "seed", "value"],
        )
        effect = factors._effect("", 1, factors._wald(data, complete=True)[2], 20 - 4 - 4)
        hits += effect.p is not None and effect.p < 0.05
    assert hits / 200 <= 0.09  # 5 % and two standard errors


def test_a_study_with_missing_cells_comes_near_the_complete_one(tmp_path: Path) -> None:
    whole = table(tmp_path / "whole", 0.8)
    some = arms(0.8)
    some[0] = replace(some[0], states={3: "failed"})
    store = make_store(tmp_path / "some", some, range(8), [])
    found = factors.cross(studies.read(store, "partial-conv", NOW), PSNR)
    assert found is not None
    assert "some cells lack seeds" in found.note
    for one, other in zip(found.effects, whole.effects, strict=True):
        assert one.f == pytest.approx(other.f, rel=0.5)
        assert one.freedom[1] == other.freedom[1] - 1


def test_one_seed_has_no_effects(tmp_path: Path) -> None:
    found = table(tmp_path, seeds=1)
    assert found.effects == []
    assert "needs 2 seeds" in found.sentences()[0]


def test_a_study_of_one_factor_has_no_cross_table(tmp_path: Path) -> None:
    assert factors.cross(studies.read(make_store(tmp_path), "partial-conv", NOW), PSNR) is None


def test_the_report_shows_it(tmp_path: Path) -> None:
    store: FolderStore = make_store(tmp_path, arms(0.8), range(4), [])
    made = report.build(store, "partial-conv", NOW)
    html, text = formats.html(made), formats.markdown(made)
    assert "By two factors" in html
    assert "arm × mask: F(1, 9)" in html
    assert re.search(r"\| other +\| +2\d\.\d+ ± 0\.\d+ \(n=4\) \|", text)
    assert re.search(r"\{\}other & 2\d\.\d+ \\ensuremath\{\\pm\} 0\.\d+ \(n=4\) & ", formats.tex(made))
    assert r"arm \ensuremath{\times} mask: F(1, 9)" in formats.tex(made)
    assert made.interaction is not None
    assert made.interaction.startswith(b"<?xml")
