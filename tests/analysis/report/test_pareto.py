"""Quality against cost: the Pareto front, the table, the plot, and the options of a sweep file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from analysis.report import build as report
from analysis.report import content, formats
from analysis.report.sections import pareto
from sweeps.errors import SweepError
from sweeps.results.columns import PEAK_MEMORY_MB, TIME_S
from sweeps.spec import loader
from tests.analysis.make_store import NOW, ArmSpec, make_store

COSTS = ["parameters", TIME_S]
FAMILIES = (
    ArmSpec("small", 25.0, parameters=1_000, sd=0.01),
    ArmSpec("middle", 26.0, parameters=20_000, sd=0.01),
    ArmSpec("wasteful", 25.5, parameters=300_000, sd=0.01),
    ArmSpec("large", 27.0, parameters=4_000_000, sd=0.01),
    ArmSpec("hopeless", 19.0, parameters=500, sd=0.01),
    ArmSpec("fill", 22.0, trains=False, parameters=0),
)


def asking(plan: dict[str, Any]) -> None:
    plan["report"]["pareto"] = {"quality": "test/psnr_db", "cost": [*COSTS, PEAK_MEMORY_MB]}


def built(root: Path, arms: Any = FAMILIES, change: Any = asking) -> content.Report:
    return report.build(make_store(root, arms, range(3), [], change=change), "partial-conv", NOW)


def test_the_front_is_of_arms_that_none_beats_in_both(tmp_path: Path) -> None:
    found = built(tmp_path).pareto
    assert found is not None
    assert [point.arm for point in found.points] == ["large", "middle", "wasteful", "small", "fill", "hopeless"]
    on = {cost: {point.arm for point in found.points if cost in point.front} for cost in COSTS}
    assert on["parameters"] == {"large", "middle", "small", "fill"}, "a fill costs nothing, and is better than one"
    assert on[TIME_S] == {"large", "fill"}, "all take the same time"
    assert found.points[0].cost["parameters"].mean == 4_000_000
    assert found.costs == COSTS, "memory is not measured here"


def test_less_is_better_where_it_is(tmp_path: Path) -> None:
    def by_error(plan: dict[str, Any]) -> None:
        plan["report"]["pareto"] = {"quality": "test/l2_raw", "cost": ["parameters"]}

    found = built(tmp_path, change=by_error).pareto
    assert found is not None
    assert [point.arm for point in found.points if point.front] == ["large", "middle", "small", "fill"]


def test_arms_with_other_images_are_left_out(tmp_path: Path) -> None:
    other = ArmSpec("elsewhere", 30.0, parameters=1, factors={"fraction": "0.5"})
    found = built(tmp_path, (*FAMILIES, other)).pareto
    assert found is not None
    assert "elsewhere" not in [point.arm for point in found.points]
    assert "“elsewhere”" in found.notes[-1]


def test_it_is_in_the_report_where_it_is_asked_for(tmp_path: Path) -> None:
    made = built(tmp_path)
    page, text = formats.html(made), formats.markdown(made)
    assert 'id="pareto"' in page
    assert "4,000,000 *" in page
    (row,) = (line for line in text.splitlines() if line.startswith("| wasteful") and "300,000" in line)
    assert "*" not in row
    files = formats.files(made, ["md"])
    assert files["partial-conv-pareto.svg"].startswith(b"<?xml")
    assert made.pareto is not None
    assert pareto.plot(made.pareto) == files["partial-conv-pareto.svg"], "the same every time"


def test_it_is_not_where_it_is_not(tmp_path: Path) -> None:
    made = built(tmp_path, change=lambda plan: None)
    assert made.pareto is None
    assert 'id="pareto"' not in formats.html(made)
    fills = (ArmSpec("one", 25.0), ArmSpec("fill", 22.0, trains=False, parameters=0))
    assert built(tmp_path / "one", fills).pareto is None, "one trained arm has nothing to be compared with"


def test_unfinished_arms_are_not_drawn(tmp_path: Path) -> None:
    late = ArmSpec("late", 30.0, parameters=1, states=dict.fromkeys(range(3), "queued"))
    found = built(tmp_path, (*FAMILIES, late)).pareto
    assert found is not None
    assert "late" not in [point.arm for point in found.points]
    assert studies.read(make_store(tmp_path / "b", (late,), [0], []), "partial-conv", NOW).states() == {"queued": 1}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("{quality: val/psnr_db}", "test column"),
        ("{quality: test/hole_fraction}", "test column"),
        ("{quality: test/nothing}", "no trial reports"),
        ("{quality: test/psnr_db, cost: [sys/images_per_s]}", "sys/time_s"),
    ],
)
def test_what_cannot_be_told_is_refused(asked: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    base = "{data: {name: cifar10}, mask: {name: lines}, model: {name: glcic}}"
    file.write_text(f"name: a\ntask: inpaint\nbase: {base}\nreport: {{pareto: {asked}}}\n")
    with pytest.raises(SweepError) as caught:
        loader.load(file)
    assert why in str(caught.value)
