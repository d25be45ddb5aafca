"""Tables of boxes say first what the same box for every image reaches."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from analysis import studies
from analysis.detection import box_baseline
from analysis.report import build as report
from analysis.report import formats
from tests.analysis.detection.detection_store import make_detection_store
from tests.analysis.make_store import NOW, make_store

ARMS = {"weak": 0.2, "good": 2.0, "constant box": 0.2, "probe": 1.2}


def test_it_stands_above_the_table_in_every_format(tmp_path: Path) -> None:
    made = report.build(make_detection_store(tmp_path, ARMS), "detectors", NOW)
    (reached, behind) = made.table.lead
    assert reached.startswith("The same box for every image (“constant box”) reaches test mean IoU 0.2")
    assert behind == "Not clearly better in test mean IoU: “weak”."
    text = formats.markdown(made)
    assert text.index("## Results") < text.index(reached) < text.index("| arm ")
    page = formats.html(made)
    assert page.index('<section id="results">') < page.index(reached) < page.index('<table class="paper">')
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(formats.terminal(made))
    shown = console.export_text()
    assert shown.index("The same box for every image") < shown.index("Results")
    tex = formats.tex(made)
    assert tex.index("The same box for every image") < tex.index("\\begin{tabular}")


def test_where_no_trained_arm_is_better(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, {"weak": 0.2, "weaker": 0.1, "constant box": 0.3})
    study = studies.read(store, "detectors", NOW)
    assert box_baseline.sentences(study, study.metrics)[-1] == "No trained arm is clearly better in test mean IoU."


def test_without_boxes_or_without_the_arm_nothing_is_said(tmp_path: Path) -> None:
    study = studies.read(make_detection_store(tmp_path / "boxes", ARMS), "detectors", NOW)
    assert box_baseline.sentences(study, ["test/auc", "test/f1"]) == []
    without = studies.read(make_detection_store(tmp_path / "none", {"weak": 0.2, "probe": 1.0}), "detectors", NOW)
    assert box_baseline.sentences(without, without.metrics) == []
    fills = studies.read(make_store(tmp_path / "fills"), "partial-conv", NOW)
    assert box_baseline.sentences(fills, fills.metrics) == []
