"""Detectors that give one number for a photograph: CSV files against labels, with intervals and differences."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from analysis.scores import image_level
from sweeps.api.protocols import named, scoring
from sweeps.cli.main import main
from sweeps.cli.programs import protocol_json
from trainables.errors import TrialError
from trainables.protocols import image_detections

PROTOCOL = "trufor-images"
OF_SKLEARN: dict[str, Any] = {
    "auc": lambda label, score: roc_auc_score(label, score),
    "balanced_accuracy": lambda label, score: balanced_accuracy_score(label, score > 0.5),
    "f1": lambda label, score: f1_score(label, score > 0.5),
    "accuracy": lambda label, score: accuracy_score(label, score > 0.5),
    "precision": lambda label, score: precision_score(label, score > 0.5, zero_division=0),
    "recall": lambda label, score: recall_score(label, score > 0.5),
}


def draw(n: int, seed: int, shift: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many equal values, and labels, of which two fifths are manipulated."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % 5 < 2
    return np.round(1 / (1 + np.exp(-random.normal(shift * label - 0.2, 1))), 1), label


def write(file: Path, column: str, values: Sequence[object], ending: str = ".png") -> Path:
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["image", column])
        rows.writerows([f"im{number:03d}{ending}", value] for number, value in enumerate(values))
    return file


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two detectors, the second in three seeds, and the labels of 100 photographs."""
    label = draw(100, 0)[1]
    made = {"truth": write(tmp_path / "truth.csv", "label", label.astype(int).tolist(), "")}
    made["weak"] = write(tmp_path / "weak.csv", "score", draw(100, 0, 0.3)[0].tolist())
    for seed in range(3):
        made[f"strong{seed}"] = write(tmp_path / f"strong{seed}.csv", "score", draw(100, 5 + seed, 2.5)[0].tolist())
    return made


@pytest.mark.parametrize("metric", OF_SKLEARN)
def test_values_equal_those_of_scikit_learn(metric: str) -> None:
    for seed in range(5):
        score, label = draw(60, seed)
        found = image_level.influence(metric, score, label, 0.5)
        assert found.value == pytest.approx(OF_SKLEARN[metric](label, score), abs=1e-12)
        silent = np.zeros(60)
        assert image_level.influence(metric, silent, label, 0.5).value == pytest.approx(
            OF_SKLEARN[metric](label, silent)
        )


@pytest.mark.parametrize("metric", OF_SKLEARN)
def test_standard_errors_are_those_of_resampled_photographs(metric: str) -> None:
    """Of each kind separately, for a detector and for the paired difference of two."""
    (score, label), (other, _) = draw(400, 1), draw(400, 1, 1.2)
    first, second = (image_level.influence(metric, one, label, 0.5) for one in (score, other))
    random = np.random.default_rng(2)
    values = []
    for _ in range(1000):
        drawn = np.concatenate([random.choice(np.flatnonzero(kind), kind.sum()) for kind in (label, ~label)])
        values.append([image_level.influence(metric, one[drawn], label[drawn], 0.5).value for one in (score, other)])
    own, gap = np.std(np.array(values)[:, 0]), np.std(np.subtract(*np.array(values).T))
    assert first.error == pytest.approx(own, rel=0.08)
    assert first.minus(second).error == pytest.approx(gap, rel=0.08)


def test_a_table_of_detectors(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strong = [f"strong={files[f'strong{seed}']}" for seed in range(3)]
    options = ("--protocol", PROTOCOL, "--truth", str(files["truth"]))
    assert main(["score", str(files["weak"]), *strong, *options, "--json", "--out", str(tmp_path / "a.json")]) == 0
    found = protocol_json.ScoreOutput.model_validate_json(capsys.readouterr().out)
    rows = {fill.name: fill for fill in found.fills}
    assert list(rows) == ["weak", "strong", "all_images"], "a file without a name is called like itself"
    label = draw(100, 0)[1]
    assert rows["weak"].values["auc"] is not None
    assert rows["weak"].values["auc"].mean == pytest.approx(roc_auc_score(label, draw(100, 0, 0.3)[0]))
    each = [roc_auc_score(label, draw(100, 5 + seed, 2.5)[0]) for seed in range(3)]
    assert rows["strong"].values["auc"] is not None
    assert rows["strong"].values["auc"].mean == pytest.approx(np.mean(each))
    assert rows["strong"].over_seeds["auc"] is not None
    assert rows["strong"].over_seeds["auc"].n == 3
    baseline = {metric: cell.mean for metric, cell in rows["all_images"].values.items() if cell}
    assert baseline == {"auc": 0.5, "balanced_accuracy": 0.5, "f1": pytest.approx(2 * 40 / 140)}
    pair = next(pair for pair in found.pairs if (pair.metric, pair.better, pair.worse) == ("auc", "strong", "weak"))
    assert pair.differs
    assert "100 images; 40 of them are manipulated." in " ".join(found.notes)
    assert main(["score", str(files["weak"]), *options]) == 0
    text = capsys.readouterr().out
    assert "balanced accuracy ↑" in text
    assert f"hash {named.find_protocol(PROTOCOL).hash}" in text

    other = write(tmp_path / "other.csv", "label", (~label).astype(int).tolist())
    assert main(["score", str(files["weak"]), *options[:3], str(other), "--out", str(tmp_path / "b.json")]) == 0
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "tested.masks" in capsys.readouterr().err, "other labels"
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--mix"]) == 0


def test_labels_of_true_masks(files: dict[str, Path], tmp_path: Path) -> None:
    """A photograph whose mask has a white pixel is manipulated."""
    (tmp_path / "masks").mkdir()
    for number, label in enumerate(draw(100, 0)[1]):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[2, 3] = 255 * label
        Image.fromarray(pixels).save(tmp_path / "masks" / f"im{number:03d}.png")
    by_masks = scoring.score({"weak": [files["weak"]]}, PROTOCOL, tmp_path / "masks")
    assert by_masks == scoring.score({"weak": [files["weak"]]}, PROTOCOL, files["truth"])


@pytest.mark.parametrize("protocol", [PROTOCOL, "inpainted-images"])
def test_a_detector_without_an_error_differs_and_has_an_interval(tmp_path: Path, protocol: str) -> None:
    """Of one with a single error it does not; from the baseline both differ, but for recall, which is 1 for all."""
    truth = write(tmp_path / "truth.csv", "label", ["manipulated", "authentic"] * 20)
    perfect = write(tmp_path / "perfect.csv", "score", [0.9, 0.1] * 20)
    nearly = write(tmp_path / "nearly.csv", "score", [0.9, 0.1] * 19 + [0.05, 0.1])
    detectors = {"perfect": [perfect], "nearly": [nearly]}
    table = scoring.score_table(scoring.score(detectors, protocol, truth))
    rows = {row.name: row.cells for row in table.rows}
    for metric in table.scores.metrics:
        cell = rows["perfect"][metric]
        assert cell is not None
        assert cell.mean == 1
        assert cell.high == 1
        assert cell.low is not None
        assert 0.8 < cell.low < 0.98, metric
        of_metric = {(pair.better, pair.worse): pair for pair in table.pairs if pair.metric == metric}
        baseline = of_metric["perfect", "all_images"].test
        assert baseline.differs == (metric != "recall"), metric
        if metric == "recall":
            continue
        assert baseline.p <= of_metric["nearly", "all_images"].test.p
        assert not of_metric["perfect", "nearly"].test.differs


def test_few_photographs_show_nothing(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", "label", ["manipulated", "authentic"] * 8)
    good = write(tmp_path / "good.csv", "score", [0.9, 0.4, 0.9, 0.1] * 4)
    table = scoring.score_table(scoring.score({"good": [good]}, PROTOCOL, truth))
    assert not any(pair.test.differs for pair in table.pairs)
    assert any("fewer than 10 photographs of a kind" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,score\na,1\n", "its first line is 'name,score'"),
        ("image,score\n", "no line below its first one"),
        ("image,score\na,0.5\na.png,0.7\nb,1\n", "line 3\n  why:     'a' is there twice"),
        ("image,score\na,0.5\nb,\n", "line 3\n  why:     score '' is not allowed"),
        ("image,score\na,0.5\nb,nan\n", "score 'nan' is not allowed"),
        ("image,score\na,0.5\nb,high\n", "score 'high' is not allowed"),
        ("image,score\na,0.5\n", "1 of 2 are missing: b"),
        ("image,score\na,0.5\nb,1\nc,1\n", "1 have other names: c"),
        ("image,score\n,0.5\nb,1\n", "it has no name of an image"),
        ('image,score\n"a,0.5\nb,1\n', "it is no CSV"),
        ("image,score\na,0.5\nb,1_000\n", "score '1_000' is not allowed"),
        ("image,score\na,0.5\nb,\u0661\n", "score '\u0661' is not allowed"),
        ("image,score\na,0.5\nb,1e999\n", "score '1e999' is not allowed"),
        ("image,score\na,0.5\nb,0,7\n", "line 3\n  why:     it has 3 values"),
        ("image,score,score\na,0.5,0.7\nb,1,0\n", "its first line names 'score' twice"),
        ("image,score,logit\na,0.5,0\nb,1,3\n", "it has further columns: 'logit'"),
    ],
)
def test_bad_scores_are_refused_with_their_line(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(TrialError) as raised:
        image_detections.read_scores(tmp_path / "x.csv", {"a": True, "b": False})
    assert why in str(raised.value)
    assert "x.csv" in raised.value.given


def test_numbers_are_read_in_every_common_form(tmp_path: Path) -> None:
    texts = ["1", "-0.5", "+.25", "1.", "1e-3", "2.5E+2"]
    lines = "".join(f"i{number},{text}\n" for number, text in enumerate(texts))
    (tmp_path / "x.csv").write_text("image,score\n" + lines)
    labels = {f"i{number}": number > 2 for number in range(len(texts))}
    assert image_detections.read_scores(tmp_path / "x.csv", labels) == [float(text) for text in texts]


def test_bad_labels_and_other_kinds_are_refused(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: object) -> str:
        assert main(["score", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    alike = write(tmp_path / "alike.csv", "label", [1] * 100)
    assert "are manipulated, and the metrics compare" in error(files["weak"], "--protocol", PROTOCOL, "--truth", alike)
    wrong = write(tmp_path / "wrong.csv", "label", [2] * 100)
    assert "label '2' is not allowed" in error(files["weak"], "--protocol", PROTOCOL, "--truth", wrong)
    (tmp_path / "maps").mkdir()
    assert "it is a folder, and the protocol" in error(
        tmp_path / "maps", "--protocol", PROTOCOL, "--truth", files["truth"]
    )
    assert "rates maps of pixels" in error(files["weak"], "--protocol", "benco-pixels", "--truth", tmp_path / "maps")
    assert "name 'all_images'" in error(
        f"all_images={files['weak']}", "--protocol", PROTOCOL, "--truth", files["truth"]
    )
    assert "leave --masks out" in error(
        files["weak"], "--protocol", PROTOCOL, "--truth", files["truth"], "--masks", tmp_path
    )
