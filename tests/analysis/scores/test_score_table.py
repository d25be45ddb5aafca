"""Tables of scores: intervals clustered by photograph, seeds, pairs, and what is not mixed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from analysis.scores import merge, score_text, table
from analysis.statistics.intervals import mean_interval
from analysis.statistics.significance import sign_flip_p
from sweeps.errors import SweepError
from sweeps.protocols.scores import FillScores, RatedImages, RunScores, Scores

Values = npt.NDArray[np.float64]
PHOTOGRAPHS = [f"photograph{number}" for number in range(12)]


def run(values: Sequence[float | None], changed: int = 0) -> RunScores:
    return RunScores(
        folder="f", values={"psnr_db": list(values)}, changed_px=[changed] * len(values), largest_change=min(changed, 3)
    )


def scores(
    fills: dict[str, list[RunScores]],
    groups: Sequence[str] = ("",),
    width: int = 10,
    names: Sequence[str] = PHOTOGRAPHS,
) -> Scores:
    pairs = list(itertools.product(names, groups))
    return Scores(
        schema=1,
        protocol=f"width-{width}",
        evaluation={"masks": {"name": "brush", "width": width}, "metrics": {"psnr_db": 1}},
        published_images=30_000,
        tested=RatedImages(count=len(pairs), pixels="0", masks=str(width)),
        names=[name for name, _ in pairs],
        groups=[group for _, group in pairs],
        hole_fractions=[0.25] * len(pairs),
        fills=[FillScores(name=name, untrained=name == "telea", runs=runs) for name, runs in fills.items()],
    )


@pytest.fixture
def values() -> Values:
    return np.random.default_rng(0).normal(25, 3, len(PHOTOGRAPHS))


def test_masks_of_one_photograph_are_no_further_evidence(values: Values) -> None:
    """Twelve masks of each photograph with the same values: the interval is that of twelve photographs, not of 144."""
    groups = [f"{number:02d}" for number in range(12)]
    once = table.build(scores({"A": [run(values)]}))
    often = table.build(scores({"A": [run(np.repeat(values, 12))]}, groups))
    of_photographs, of_masks = once.rows[0].cells["psnr_db"], often.rows[0].cells["psnr_db"]
    assert of_photographs == mean_interval(values)
    assert of_masks
    assert of_photographs
    assert (of_masks.n, of_masks.half_width) == (12, pytest.approx(of_photographs.half_width))
    assert often.rows[0].by_group["03"]["psnr_db"] == mean_interval(values)
    assert once.rows[0].by_group == {}
    assert "12 images with 144 masks" in often.notes[0]
    assert "published tables are of 30,000 images" in often.notes[1]
    grid = score_text.group_grid(often)
    assert grid
    assert [line[0] for line in grid.body] == groups
    assert score_text.group_grid(once) is None
    assert "by the size of the hole" in score_text.latex(often)


def test_pairs_are_tested_by_photograph_and_corrected(values: Values) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, (2, len(values)))
    other, third = values - 0.4 + noise[0], values + noise[1]
    built = table.build(scores({"A": [run(values)], "B": [run(other)], "C": [run(third)], "telea": [run(values - 3)]}))
    by_names = {frozenset((pair.better, pair.worse)): pair for pair in built.pairs}
    assert len(by_names) == 6, "three fills with each other, and each with the best one without training"
    pair = by_names[frozenset("AB")]
    assert (pair.better, pair.test.family) == ("A", 6)
    assert pair.test.p == sign_flip_p(list(values - other))
    assert pair.difference == mean_interval(values - other)
    assert pair.test.differs
    assert not by_names[frozenset("AC")].test.differs


def test_seeds_have_intervals_of_their_own(values: Values) -> None:
    runs = [run(values + shift, changed=2) for shift in (0.0, 0.1, 0.3)]
    (row,) = table.build(scores({"A": runs})).rows
    seeds = row.over_seeds["psnr_db"]
    assert seeds == mean_interval([float((values + shift).mean()) for shift in (0.0, 0.1, 0.3)])
    expected = mean_interval(values + np.mean([0.0, 0.1, 0.3]))
    assert expected
    found = row.cells["psnr_db"]
    assert found
    assert found.mean == pytest.approx(expected.mean)
    assert found.half_width == pytest.approx(expected.half_width)
    assert row.changed == (36, 72, 2)


def test_values_that_are_not_defined_are_left_out() -> None:
    built = table.build(scores({"A": [run([None, *range(11)])], "B": [run([None] * 12)]}))
    first, second = (row.cells["psnr_db"] for row in built.rows)
    assert first
    assert (first.n, first.mean, second) == (11, 5.0, None)
    assert "–" in score_text.main_grid(built).body[1]
    assert built.pairs == []


def test_few_images_are_said_to_decide_nothing() -> None:
    built = table.build(scores({"A": [run([1.0, 2.0])], "B": [run([2.0, 3.0])]}, names=PHOTOGRAPHS[:2]))
    assert any(note.startswith("The difference cannot reach significance with 2 images; ") for note in built.notes)
    three = {name: [run([1.0, 2.0 + shift])] for shift, name in enumerate("ABC")}
    built = table.build(scores(three, names=PHOTOGRAPHS[:2]))
    assert any(
        note.startswith("None of the 3 differences can reach significance with 2 images; ") for note in built.notes
    )


def test_published_images_are_rated_images_and_not_photographs() -> None:
    """As in `pconv-6`: 1,000 photographs with 12 masks each are the 12,000 images of the published tables."""
    groups = ["01-10", "10-20"]
    for published, differs in ((24, False), (12, True)):
        rated = scores({"A": [run([1.0] * 24)]}, groups).model_copy(update={"published_images": published})
        notes = table.build(rated).notes
        assert any(f"published tables are of {published} images" in note for note in notes) is differs


def test_other_protocols_are_not_mixed_unless_asked(values: Values) -> None:
    thin = scores({"A": [run(values)], "telea": [run(values)]})
    thick = scores({"A": [run(values[:6])], "telea": [run(values[:6])]}, width=50, names=PHOTOGRAPHS[:6])
    with pytest.raises(SweepError) as raised:
        merge.merged({"thin.json": thin, "thick.json": thick}, mix=False)
    assert "masks.width: 10 and 50" in raised.value.why
    assert "tested.count: 12 and 6" in raised.value.why
    mixed, notes = merge.merged({"thin.json": thin, "thick.json": thick}, mix=True)
    assert [fill.name for fill in mixed.fills] == ["A (thin.json)", "A (thick.json)", "telea"]
    assert mixed.names == PHOTOGRAPHS[:6], "what both have"
    assert any("masks.width: 10 and 50" in note for note in notes)
    built = table.build(mixed, notes)
    assert built.mixed
    assert built.notes[: len(notes) + 1] == [*notes, "6 images, rated differently."]
    assert thin.hash not in score_text.latex(built)
    alone = scores({"A": [run(values[6:])]}, width=50, names=PHOTOGRAPHS[6:])
    with pytest.raises(SweepError, match="share no photograph"):
        merge.merged({"thin.json": scores({"A": [run(values[:6])]}, names=PHOTOGRAPHS[:6]), "b.json": alone}, mix=True)


def test_one_protocol_makes_one_table(values: Values) -> None:
    one, two = (
        scores({"A": [run(values)], "telea": [run(values)]}),
        scores({"B": [run(values)], "telea": [run(values)]}),
    )
    merged, notes = merge.merged({"one.json": one, "two.json": two}, mix=False)
    assert [fill.name for fill in merged.fills] == ["A", "B", "telea"]
    assert (notes, merged.hash) == ([], one.hash)


def test_a_wide_table_has_further_blocks_and_folds_no_figure() -> None:
    from rich.console import Console

    metrics = ["psnr_db", "psnr_db_hole", "ssim", "l1", "l1_seam"]
    random = np.random.default_rng(1)
    columns = {metric: random.normal(25, 3, len(PHOTOGRAPHS)).tolist() for metric in metrics}
    one = RunScores(folder="f", values=columns, changed_px=[0] * len(PHOTOGRAPHS), largest_change=0)
    plain = scores({"navier_stokes": [run([0.0] * 12)]})
    given = plain.model_copy(
        update={
            "evaluation": {**plain.evaluation, "metrics": dict.fromkeys(metrics, 1)},
            "fills": [FillScores(name="navier_stokes", untrained=False, runs=[one])],
        }
    )
    made = table.build(given)
    cells = score_text.main_grid(made).body[0]
    for width, blocks in ((200, 1), (60, 2), (30, 5)):
        console = Console(width=width, color_system=None)
        with console.capture() as captured:
            console.print(score_text.terminal(made))
        lines = [line for line in captured.get().splitlines() if line.startswith(" navier_stokes")]
        assert len(lines) == blocks
        assert all(any(cell in line for line in lines) for cell in cells[1:]), "each figure is on one line"
        assert max(map(len, captured.get().splitlines())) <= width
