"""ROC, precision-recall and robustness curves of detectors in a report."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from analysis import studies
from analysis.report import build as report
from analysis.report import figures, formats
from analysis.report.sections import robustness, threshold_curves
from analysis.report.sections.threshold_curves import GRID, PRECISION_RECALL, ROC
from tests.analysis.detection.detection_store import CHANGES, make_detection_store
from tests.analysis.make_store import NOW, make_store

ARMS = {"plain": 1.0, "better": 1.6, "constant box": 0.2, "probe": 1.2}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_curves_are_those_of_scikit_learn(tmp_path: Path) -> None:
    study = studies.read(make_detection_store(tmp_path, ARMS), "detectors", NOW)
    found = threshold_curves.build(study)
    assert found is not None
    assert found.seeds == {"plain": 4, "better": 4, "constant box": 1, "probe": 1}
    rates, precisions = [], []
    for scores in study.image_scores.scores("plain").values():
        false, true, _ = roc_curve(scores.label_n, scores.logit_n, drop_intermediate=False)
        highest = {rate: true[false == rate].max() for rate in np.unique(false)}
        rates.append(np.interp(GRID, list(highest), list(highest.values())))
        precision, recall, _ = precision_recall_curve(scores.label_n, scores.logit_n)
        precisions.append([precision[recall >= level - 1e-12][-1] for level in GRID[1:]])
        assert np.trapezoid(rates[-1], GRID) == pytest.approx(roc_auc_score(scores.label_n, scores.logit_n), abs=0.01)
    np.testing.assert_allclose(found.bands["plain"][ROC].mean, np.mean(rates, axis=0))
    np.testing.assert_allclose(found.bands["plain"][PRECISION_RECALL].mean[1:], np.mean(precisions, axis=0))
    band = found.bands["plain"][ROC]
    assert ((band.low <= band.mean) & (band.mean <= band.high)).all()
    assert np.isnan(found.bands["probe"][ROC].low).all(), "one evaluation has no band over seeds"
    assert found.share == 0.5


def test_the_report_has_them_with_caption_and_points(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, ARMS, with_scores=lambda arm: arm != "better")
    built = report.build(store, "detectors", NOW)
    files = formats.files(built, ["md", "html", "csv", "svg"])
    text, page = files["detectors.md"].decode(), files["detectors.html"].decode()
    for name in ("roc", "robustness"):
        svg = files[f"detectors-{name}.svg"]
        assert svg.startswith(b"<?xml")
        assert b"prefers-color-scheme:dark" in svg
        assert f"](detectors-{name}.svg)" in text
        assert f'<section id="{name}">' in page
        assert f"detectors-{name}.csv" in text
    assert "bands are 95 % intervals over seeds at each point" in text
    assert "Without curves, since their trials stored no scores of single images: “better”." in text
    points = rows_of(files["detectors-roc.csv"].decode())
    assert {row["arm"] for row in points} == {"plain", "constant box", "probe"}
    assert len(points) == 3 * 2 * len(GRID)
    assert formats.drawn(built, "pdf").keys() >= {"roc", "robustness"}


def test_a_line_over_the_levels_of_a_change(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, ARMS)
    study = studies.read(store, "detectors", NOW)
    (curve,) = robustness.curves(study)
    assert curve.levels == ["none", "90", "70", "50"]
    assert curve.metric == "test/auc"
    columns = ["test/auc", *(f"test/auc_on_jpeg{level}" for level in (90, 70, 50))]
    for arm in ARMS:
        assert curve.rows[arm] == [study.interval(arm, column) for column in columns]
    means = [one.mean for one in curve.rows["better"] if one]
    assert means == sorted(means, reverse=True)
    points = rows_of(robustness.csv([curve]))
    assert [row["level"] for row in points if row["arm"] == "probe"] == curve.levels
    assert all(row["low"] and row["high"] for row in points), "intervals over photographs"
    (words, broken) = robustness.sentences(study, [curve])
    assert "bands are 95 % intervals over seeds and test photographs, or over test photographs, where there is" in words
    assert broken == "Broken lines: arms without training."


def test_captions_say_what_is_drawn(tmp_path: Path) -> None:
    """Bands of one evaluation are over photographs; two seeds have none; arms of other images are told apart."""
    probes = studies.read(make_detection_store(tmp_path / "a", {"probe": 1.2, "constant box": 0.2}), "detectors", NOW)
    found = robustness.curves(probes)
    assert "One evaluation of each arm by level" in robustness.sentences(probes, found)[0]
    assert "bands are 95 % intervals over test photographs." in robustness.sentences(probes, found)[0]
    roc = threshold_curves.build(probes)
    assert roc is not None
    assert roc.sentences()[0] == "One evaluation of each arm."
    two = {"plain": 1.0, "shortcut": 2.0}
    store = make_detection_store(tmp_path / "b", two, seeds=[0, 1], forged={"shortcut": {"compression": "png"}})
    pair = studies.read(store, "detectors", NOW)
    roc = threshold_curves.build(pair)
    assert roc is not None
    assert np.isnan(roc.bands["plain"][ROC].low).all()
    text = " ".join(roc.sentences())
    assert text.startswith("Mean over seeds (n = 2). Dotted grey lines: a guess.")
    assert "only lines of one group can be compared: “plain”; “shortcut”." in text
    text = " ".join(robustness.sentences(pair, robustness.curves(pair)))
    assert "bands" not in text
    assert "only lines of one group can be compared: “plain”; “shortcut”." in text


def test_dark_colours_are_told_apart() -> None:
    """By their distance in red, green and blue: the first and the fifth had one of 24."""
    dark = [figures._DARK.get(colour, colour) for colour in figures.PALETTE]
    triples = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in dark]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(triples, 2)) > 40


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (CHANGES, {("own", "JPEG quality"): ["jpeg90", "jpeg70", "jpeg50"]}),
        (
            {"one": {"blur": 2.0}, "two": {"blur": 0.8, "jpeg": None}, "three": {"resize": 0.5}},
            {("own", "standard deviation of a Gaussian blur, px"): ["two", "one"]},
        ),
        (
            {
                f"shared{quality}": {"steps": [{"resize": 0.5}, {"jpeg": quality}], "on": ["bench", "own"]}
                for quality in (60, 80)
            },
            {
                ("bench", "JPEG quality after resize 0.5"): ["shared80", "shared60"],
                ("own", "JPEG quality after resize 0.5"): ["shared80", "shared60"],
            },
        ),
        ({"a": {"resize": 0.9}, "b": {"resize": 0.5}, "c": {"resize": 0.7}}, {("own", "factor of resizing"): [*"acb"]}),
        ({"a": {"name": "./f.py", "strength": 2.0}, "b": {"name": "./f.py", "strength": 1.0}}, {
            ("own", "strength of name ./f.py"): ["b", "a"]}),
        ({"a": {"name": "./f.py"}, "b": {"name": "./g.py"}, "c": {"jpeg": 50}}, {}),
    ],
)  # fmt: skip
def test_changes_that_differ_in_one_number_are_one_curve(changes: Any, expected: dict[Any, list[str]]) -> None:
    found = {(test_set, words): list(levels) for test_set, words, levels in robustness._series(changes)}
    assert found == expected


def test_other_tasks_and_older_stores_have_none(tmp_path: Path) -> None:
    fills = report.build(make_store(tmp_path / "fills"), "partial-conv", NOW)
    assert fills.thresholds is None
    assert fills.robustness == []
    assert set(formats.files(fills, ["csv"])) == {"partial-conv.csv"}
    old = report.build(make_detection_store(tmp_path / "old", ARMS, with_scores=lambda arm: False), "detectors", NOW)
    assert old.thresholds is None
    assert len(old.robustness) == 1
    assert 'id="roc"' not in formats.html(old)


def test_many_arms_with_any_name_can_be_drawn(tmp_path: Path) -> None:
    arms = {**{f"arm {i} $x^{{2$": 1.0 for i in range(12)}, "probe": 1.0}
    built = report.build(make_detection_store(tmp_path, arms, seeds=[0]), "detectors", NOW)
    assert built.roc is not None
    assert built.roc == threshold_curves.plot(built.thresholds)  # type: ignore[arg-type]
    assert built.falling is not None
