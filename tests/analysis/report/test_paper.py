"""The main tables as a paper prints them: one model, in every format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from analysis.claims.published import PublishedFigure
from analysis.report import build as report
from analysis.report import content, formats
from analysis.report.paper import paper_table, paper_text, published_notes
from analysis.report.paper.shape import Shape
from sweeps.errors import SweepError
from tests.analysis.make_store import NOW, ArmSpec, make_store

METRICS = ["test/psnr_db", "test/l2_raw", "test/ssim"]


def built(root: Path, shape: Shape | None = None, seeds: int = 8, **options: Any) -> content.Report:
    return report.build(make_store(root, seeds=range(seeds), **options), "partial-conv", NOW, shape=shape)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> content.Report:
    return built(tmp_path_factory.mktemp("paper"))


def texts(table: paper_table.PaperTable) -> dict[str, list[str]]:
    return {row.name: [figure.text for figure in row.figures] for row in table.rows}


def test_arms_are_rows_and_metrics_columns(made: content.Report) -> None:
    results, differences = made.papers
    heads = ["test PSNR (dB) ↑", "test L2 raw ↓", "published", "test SSIM ↑"]
    assert results.heads == heads, "published values have a column only where there are some"
    assert [row.name for row in results.rows] == made.study.names
    assert texts(results)["partial convolution"][:3] == ["● 27.16 ± 0.24", "● 0.00192 ± 0.00011", "0.0005 [1]"]
    assert texts(results)["mean fill"][2] == "–"
    assert differences.heads == [head for head in heads if head != "published"]
    assert [row.name for row in differences.rows] == made.study.names[1:], "the baseline has no row"
    assert texts(differences)["telea"][0] == "−0.87 [−1.04, −0.69] *"


def test_numbers_of_seeds_are_said_once(made: content.Report) -> None:
    results, differences = made.papers
    assert "n = 8; n = 6 for “partial convolution” (6 of 8, 1 failed, 1 running)." in results.notes
    assert "n = 8; n = 6 for “partial convolution”." in differences.notes
    for text in (formats.markdown(made), formats.html(made)):
        table = text[text.index("Results") : text.index("Differences")]
        assert table.count("n = 8") == 1
        assert "n=8" not in table


def test_numbers_of_seeds_that_differ_between_metrics(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0), ArmSpec("b", 26.0, nan=True), ArmSpec("c", 24.0, states={0: "queued", 1: "queued"})]
    results = built(tmp_path, arms=arms, seeds=2, claims=[]).papers[0]
    assert "n = 2." in results.notes
    assert "Without a result: “c” (0 of 2, 2 queued)." in results.notes


def test_underpowered_is_said_once(tmp_path: Path, made: content.Report) -> None:
    few = built(tmp_path, seeds=3)
    for text in (formats.markdown(few), formats.html(few), _terminal(few, 120)):
        assert text.count("Underpowered: with so few pairs") == 1
        assert "n=3" not in text.partition("By epoch")[0]
        assert "†" not in text
    signs = {row.name: row.figures[0].signs for row in made.papers[1].rows}
    assert signs == {"partial convolution": ("†",), "mean fill": ("*",), "telea": ("*",)}, "six pairs are too few"
    assert "† Underpowered: with so few pairs" in _terminal(made, 120)


def test_notes_are_merged(made: content.Report) -> None:
    results = made.papers[0]
    assert results.footnotes == ["The conclusion says 0.0002."]
    shared = [note for note in results.notes if note.startswith("Published figures: ")]
    assert len(shared) == 1
    assert "this is inferred; the printed formula divides by n^2" in shared[0]
    assert "Published after epoch 20 (“blind autoencoder”) and epoch 100 (“partial convolution”)." in results.notes


def test_a_figure_has_at_most_three_marks() -> None:
    one, many = (
        PublishedFigure(1.0, "1", "test", None, "", notes) for notes in (("a; b",), ("a; b", "c", "d; e", "f"))
    )
    notes = published_notes.PublishedNotes({("x", "m"): [one], ("y", "m"): [many], ("z", "m"): []})
    assert notes.sentences == ["Published figures: A; b."]
    assert notes.numbers == {("x", "m"): (), ("y", "m"): (1, 2, 3)}
    assert notes.footnotes == ["C.", "D.", "E; f."], "nothing is lost"


def test_chosen_columns(tmp_path: Path) -> None:
    chosen = built(tmp_path, Shape(columns=("test/ssim", "test/hole_fraction")))
    assert chosen.papers[0].heads == ["test SSIM ↑", "test hole fraction"]
    assert [column.metric for column in chosen.table.columns] == ["test/ssim", "test/hole_fraction"]
    with pytest.raises(SweepError) as error:
        built(tmp_path / "other", Shape(columns=("test/psnr",)))
    assert "test/psnr_db" in error.value.allowed


def test_transposed_tables_have_the_same_figures(tmp_path: Path, made: content.Report) -> None:
    turned = built(tmp_path, Shape(transpose=True))
    for straight, table in zip(made.papers, turned.papers, strict=True):
        assert table.heads == [row.name for row in straight.rows]
        columns = zip(*(row.figures for row in straight.rows), strict=True)
        assert [row.figures for row in table.rows] == [list(column) for column in columns]
    names = [row.name for row in turned.papers[0].rows]
    assert names == ["test PSNR (dB) ↑", "test L2 raw ↓", "test L2 raw ↓, published", "test SSIM ↑"]
    assert formats.html(turned).count('href="#arm-1"') == 1


def test_standard_deviations_on_request(tmp_path: Path) -> None:
    found = built(tmp_path, Shape(sd=True))
    interval = found.study.interval("blind autoencoder", "test/psnr_db")
    assert interval is not None
    assert interval.sd is not None
    figure = found.papers[0].rows[0].figures[0]
    assert float(figure.spread) == pytest.approx(interval.sd, abs=0.005)
    assert found.papers[0].notes[0].startswith("Mean over n seeds ± standard deviation over seeds")


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_narrow_terminal_shows_every_figure(made: content.Report, width: int) -> None:
    shown = _terminal(made, width)
    assert max(map(cell_len, shown.splitlines())) <= width
    for table in made.papers:
        for row in table.rows:
            assert all(figure.text in shown for figure in row.figures)
    heads = [line for line in shown.splitlines() if "published" in line and "L2" in line]
    assert len(heads) == 1, "published values stand beside ours"


def _terminal(made: content.Report, width: int) -> str:
    out = io.StringIO()
    tables = paper_text.TerminalTables(made.papers, made.study.name)
    Console(file=out, width=width, color_system=None).print(tables)
    return out.getvalue()
