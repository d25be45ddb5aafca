"""The table: its entries, marks and footnotes, and hostile names in every rendering."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis import studies, wording
from analysis.report import render, tables
from analysis.report.paper import paper_table, paper_text
from analysis.statistics.intervals import Interval, exact_value
from tests.analysis.make_store import NOW, ArmSpec, make_store

HOSTILE = ("<script>alert(1)</script>", "a|b", "[bold]x[/bold]", "_[click](http://x)_ `c` **d** $e$\nnew line")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tables.Table:
    return tables.build(studies.read(make_store(tmp_path_factory.mktemp("table")), "partial-conv", NOW))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tables.Table:
    arms = [ArmSpec(name, 25.0 + number) for number, name in enumerate(HOSTILE)]
    store = make_store(tmp_path_factory.mktemp("hostile"), arms, [0, 1], [])
    return tables.build(studies.read(store, "partial-conv", NOW))


def test_every_arm_has_a_row_and_every_lost_cell_is_counted(table: tables.Table) -> None:
    assert [row.arm for row in table.rows] == ["blind autoencoder", "partial convolution", "mean fill", "telea"]
    assert render.cells_done(table.rows[1]) == "6 of 8, 1 failed, 1 running"
    assert render.cells_done(table.rows[3]) == "1 for all"
    assert any("1 running and 1 failed" in sentence for sentence in table.on_results)


def test_entries(table: tables.Table) -> None:
    base, conv, _, telea = (row.entries["test/psnr_db"] for row in table.rows)
    assert base.difference is None
    assert conv.ours is not None
    assert conv.ours.n == 6
    printed = [row.figures[0].text for row in paper_table.results(table).rows]
    assert "±" in printed[1]
    assert "±" not in printed[3], "an exact value"
    assert (conv.mark, base.mark, telea.mark) == ("best", "", "")
    assert [figure.text for figure in table.rows[1].entries["test/l2_raw"].published] == ["0.0005"]
    assert "epoch 100" in table.rows[1].entries["test/l2_raw"].published_notes
    assert any("epoch 100 (“partial convolution”)" in sentence for sentence in table.on_results)


def test_best_is_marked_with_all_that_cannot_be_told_apart(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0), ArmSpec("b", 25.02, sd=0.3), ArmSpec("c", 24.0), ArmSpec("d", 23.0, trains=False)]
    study = studies.read(make_store(tmp_path, arms, claims=[]), "partial-conv", NOW)
    marks = tables.best_arms(study, "test/psnr_db", study.names)
    assert set(marks) == {"a", "b"}
    assert sorted(marks.values()) == ["best", "tied"]


def test_a_lower_error_is_better(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path, claims=[]), "partial-conv", NOW)
    assert tables.best_arms(study, "test/l2_raw", study.names) == {"partial convolution": "best"}
    assert tables.best_arms(study, "test/hole_fraction", study.names) == {}, "no direction is better"


def test_two_fills_are_told_apart_by_their_values(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0, trains=False), ArmSpec("b", 25.0, trains=False), ArmSpec("c", 24.9, trains=False)]
    study = studies.read(make_store(tmp_path, arms, [0], []), "partial-conv", NOW)
    assert tables.best_arms(study, "test/psnr_db", study.names) == {"a": "best", "b": "tied"}


def test_markdown_is_a_table_that_reads_as_text(table: tables.Table) -> None:
    lines = paper_text.markdown(paper_table.results(table)).splitlines()
    grid = [line for line in lines if line.startswith("|")]
    assert len(grid) == 2 + len(table.rows)
    assert len({len(line) for line in grid}) == 1, "columns are padded"
    assert "**● 27.16 ± 0.24**" in grid[3]


def test_markdown_escapes_names(hostile: tables.Table) -> None:
    text = paper_text.markdown(paper_table.results(hostile))
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len(grid) == 2 + len(hostile.rows), "a line break in a name is no line break in the table"
    assert len({line.replace("\\|", "").count("|") for line in grid}) == 1
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)\]\(", text), "no link"
    assert "\\`c\\` \\*\\*d\\*\\* \\$e\\$" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("partial_conv_unet", "partial_conv_unet"),
        ("[0.98, 1.42]", "\\[0.98, 1.42]"),
        ("count [1, 10]", "count [1, 10]"),
        ("a <b> & c &amp; d", "a &lt;b&gt; & c &amp;amp; d"),
        ("# no heading", "\\# no heading"),
        ("_lead_", "\\_lead\\_"),
    ],
)
def test_escape_leaves_harmless_signs_alone(text: str, shown: str) -> None:
    assert render.escape(text) == shown


def test_the_terminal_shows_names_as_they_are(hostile: tables.Table) -> None:
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(
        paper_text.TerminalTables(paper_table.paper_tables(hostile), "[red]title")
    )
    assert all(" ".join(name.split()) in out.getvalue() for name in HOSTILE)
    assert "[red]title" in out.getvalue()


def test_csv_has_all_digits(table: tables.Table) -> None:
    rows = list(csv.DictReader(io.StringIO(render.to_csv(table))))
    assert len(rows) == len(table.rows) * len(table.columns)
    conv = next(row for row in rows if (row["arm"], row["metric"]) == ("partial convolution", "test/l2_raw"))
    entry = table.rows[1].entries["test/l2_raw"]
    assert entry.ours is not None
    assert float(conv["mean"]) == entry.ours.mean
    assert (conv["n"], conv["failed"], conv["running"], conv["mark"]) == ("6", "1", "1", "best")
    assert conv["published"] == "0.0005"
    fill = next(row for row in rows if row["arm"] == "telea")
    assert (fill["sd"], fill["low"], fill["trains"]) == ("", "", "False")


def test_an_undefined_effect_size_is_an_empty_cell(table: tables.Table, hostile: tables.Table) -> None:
    """`hostile` has two seeds."""
    cells = {}
    for name, one in (("several", table), ("two", hostile)):
        rows = csv.DictReader(io.StringIO(render.to_csv(one)))
        cells[name] = {row["effect_size"] for row in rows if row["p"]}
    assert cells["two"] == {""}
    assert "" not in cells["several"]


def test_an_arm_without_a_figure_keeps_its_row(tmp_path: Path) -> None:
    arms = [ArmSpec("base", 25.0), ArmSpec("null", 25.0, nan=True), ArmSpec("failed", 1.0, states={0: "failed"})]
    found = tables.build(studies.read(make_store(tmp_path, arms, [0], []), "partial-conv", NOW))
    for paper in paper_table.results(found), paper_table.differences(found):
        assert [row.figures[0].text for row in paper.rows[-2:]] == ["–", "–"]
    assert any("One seed" in sentence for sentence in found.on_results)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(27.3123, 0.1, 27.1923, 27.4323, 8), "27.31 ± 0.12"),
        (Interval(27.3123, 0.1, 26.6123, 28.0123, 8), "27.3 ± 0.7"),
        (Interval(0.00151234, 1e-5, 0.00148234, 0.00154234, 8), "0.001512 ± 0.000030"),
        (Interval(1234.5, 90, 1100.5, 1368.5, 8), "1234 ± 134"),
        (Interval(27_853_863.0, 1e6, 26_954_151.0, 28_753_575.0, 8), "27,900,000 ± 900,000"),
        (Interval(27_853_863.0, 1e5, 27_730_407.0, 27_977_319.0, 8), "27,850,000 ± 120,000"),
        (Interval(-709_962.0, 2e6, -2_209_962.0, 790_038.0, 8), "−700,000 ± 1,500,000"),
        (Interval(27.3, 1e-14, 27.3 - 1e-14, 27.3 + 1e-14, 8), "27.3000 ± 0.0000"),
        (Interval(27.31234, None, None, None, 1), "27.31"),
        (exact_value(0.0428), "0.04280"),
        (exact_value(68_199_345.0), "68,200,000"),
        (exact_value(0.0), "0.000"),
        (exact_value(-3.0), "−3.000"),
    ],
)
def test_digits_follow_the_interval(interval: Interval, text: str) -> None:
    assert wording.plus_minus(interval) == text


def test_a_small_figure_in_a_column_of_large_ones_is_not_rounded_away() -> None:
    large = Interval(1.2e6, 1e4, 1.18e6, 1.22e6, 8)
    of_half = wording.decimals([Interval(3.2, 0.2, 2.7, 3.7, 8), large])
    assert [wording.fixed(value, of_half) for value in (3.2, 0.6, 1.2e6)] == ["3", "1", "1,200,000"]
    for column in ([exact_value(650.0), exact_value(1_234_567.0)], [exact_value(650.0), large]):
        assert wording.fixed(650.0, wording.decimals(column)) == "650"
    assert wording.decimals([exact_value(0.0), exact_value(68_199_345.0)]) == -4


def test_no_minus_zero() -> None:
    assert wording.fixed(-0.0001, 2, plus=True) == "0.00"
    assert wording.fixed(0.5, 1, plus=True) == "+0.5"
    assert [wording.fixed(value, 0) for value in (9999.4, -9999.7)] == ["9999", "−10,000"]
    assert wording.fixed(9960.0, -2) == "10,000"
    shown = [wording.two_digits(value) for value in (0.0, 0.000794, 0.0213, 0.96, 7.0, 129.6, 1.23e6)]
    assert shown == ["0", "0.00079", "0.021", "0.96", "7.0", "130", "1,200,000"]


def test_labels() -> None:
    assert wording.label("test/psnr_db_hole") == "test PSNR hole"
    assert render.heading(tables.Column("test/l2_raw", 1, 1, False)) == "test L2 raw ↓"
    assert render.heading(tables.Column("test/psnr_db", 1, 1, False)) == "test PSNR (dB) ↑"
    assert wording.duration(0.3) == "300 ms"
    assert [wording.duration(seconds) for seconds in (42, 600, 7200)] == ["42 s", "10.0 min", "2.0 h"]


@pytest.mark.parametrize("seeds", [8, 3])
def test_a_star_takes_a_test_that_could_give_one(tmp_path: Path, seeds: int) -> None:
    store = make_store(tmp_path, [ArmSpec("a", 26.0), ArmSpec("b", 27.0), ArmSpec("c", 26.0)], range(seeds), [])
    table = tables.build(studies.read(store, "partial-conv", NOW))
    column = table.columns[0]
    paper = paper_table.differences(table)
    texts = {row.name: row.figures[0].text for row in paper.rows}
    assert texts["b"].endswith("*") == (seeds == 8)
    assert "*" not in texts["c"]
    assert ("that needs 7 seeds" in " ".join(paper.notes)) == (seeds == 3)
    row = next(row for row in table.rows if row.arm == "b")
    test = row.entries[column.metric].comparison
    assert test is not None
    assert (test.p, test.family, test.improvement) == (2 ** (1 - seeds), 2, 1.0)
    lines = list(csv.DictReader(io.StringIO(render.to_csv(table))))
    line = next(one for one in lines if one["arm"] == "b" and one["metric"] == column.metric)
    assert float(line["p_adjusted"]) == test.adjusted_p


def test_the_interquartile_mean_on_request(tmp_path: Path) -> None:
    """One outlier among eight seeds moves the mean, but not the interquartile mean."""

    def change(plan: dict[str, Any]) -> None:
        plan["report"]["statistic"] = "interquartile mean"

    arms = [ArmSpec("net", 26.0, sd=2.0)]
    plain = studies.read(make_store(tmp_path / "mean", arms, range(8), []), "partial-conv", NOW)
    other = studies.read(make_store(tmp_path / "iqm", arms, range(8), [], change=change), "partial-conv", NOW)
    values = sorted(plain.values("net", "test/psnr_db").values())
    found = other.interval("net", "test/psnr_db")
    assert found is not None
    assert found.mean == pytest.approx(sum(values[2:6]) / 4)
    assert tables.build(other).on_results[0].startswith("Interquartile mean over n seeds ± half-width")
    assert (
        tables.build(plain)
        .on_results[0]
        .startswith("Mean over n seeds ± half-width of its 95 % interval (Student's t)")
    )
