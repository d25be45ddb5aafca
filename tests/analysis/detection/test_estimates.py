"""Metrics from the scores of single images: equal to the columns of a real trial, with the parts of the jackknife."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from analysis.detection import estimates, image_scores
from analysis.detection.image_scores import SetScores
from analysis.statistics import crossed
from sweeps.results import columns as record_columns
from tests.trainables.detect.test_detect import LABEL, MASK
from tests.trainables.forgery.forged_small import InMemory, configured, small
from trainables.detect.evaluation import extra_metrics
from trainables.detect.evaluation import image_scores as stored_scores
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Row

NOT_OF_IMAGES = ("threshold", "average_precision_pixel")
"""Columns to which single images do not add up."""
WITHOUT_ESTIMATE = ("ece", "tpr_at_fpr_1")
"""Of the calibration error, which is biased; and with so few negatives."""


def trained(root: Path, **changes: Any) -> tuple[Row, bytes]:
    """The last row of a trial with two further test sets, and its file of scores."""
    config = configured(epochs=2, test_changes={"saved": {"jpeg": 70}}, **changes)
    session = MemorySession(Goal(config["epochs"], extra=extra_metrics.NAMES), Machine(data_root=root))
    fit(InMemory(small(root), {"noise": small(root, fill="noise")}), config, session)  # type: ignore[arg-type]
    return session.rows[-1], session.images[max(session.images)][stored_scores.FILE]


@pytest.mark.parametrize("model", [MASK, LABEL, {"name": "high_pass_probe"}, {"name": "constant_box"}])
def test_every_column_is_that_of_the_trial(data_root: Path, model: Any) -> None:
    row, data = trained(data_root, model=model)
    assert stored_scores.FILE == image_scores.FILE
    assert set(image_scores.sets_of(data)) == {"own", "noise", "saved"}
    compared = 0
    for column, recorded in row.items():
        plain, label = record_columns.without_test_set(column)
        metric = plain.removeprefix("test/")
        if not column.startswith("test/") or metric in NOT_OF_IMAGES or metric.startswith("images_"):
            continue
        scores = image_scores.read(data, label or image_scores.OWN)
        assert scores is not None
        found = estimates.estimate(scores, metric)
        if metric in WITHOUT_ESTIMATE:
            assert found is None
            continue
        assert found is not None, column
        assert found.value == pytest.approx(recorded, abs=1e-9), column
        compared += 1
    assert compared > 40


def made(photographs: int = 80) -> SetScores:
    """Photographs with a real, a fake, and for some of them a control."""
    rng = np.random.default_rng(0)
    kinds = [("real", "inpainted", *(["pasted"] if i % 3 == 0 else [])) for i in range(photographs)]
    kind_n = np.array([kind for of_one in kinds for kind in of_one])
    photograph_n = np.repeat(np.arange(photographs), [len(of_one) for of_one in kinds])
    label_n = kind_n == "inpainted"
    n = len(kind_n)
    return SetScores(
        rng.normal(size=n) + label_n + rng.normal(size=photographs)[photograph_n],
        label_n,
        kind_n,
        np.array([f"p{i:03}" for i in range(photographs)]),
        photograph_n,
        label_n * rng.uniform(0, 0.5, n),
        np.where(label_n, rng.random(n), np.nan),
        0.4,
        rng.random(n),
        rng.integers(0, 50, (n, 3)).astype(float),
        {"pixel_auc": np.where(label_n, rng.random(n), np.nan)},
    )


def without(scores: SetScores, photograph: int) -> SetScores:
    kept = scores.photograph_n != photograph
    names, photograph_n = np.unique(scores.photograph_n[kept], return_inverse=True)
    columns = (scores.logit_n, scores.label_n, scores.kind_n)
    assert scores.iou_n is not None
    assert scores.pixel_n3 is not None
    return SetScores(
        *(column[kept] for column in columns),
        scores.photographs[names],
        photograph_n,
        scores.hole_share_n[kept],
        scores.sharpness_n[kept],
        scores.threshold,
        scores.iou_n[kept],
        scores.pixel_n3[kept],
        {name: column[kept] for name, column in scores.extra.items()},
    )


@pytest.mark.parametrize(
    "metric",
    [
        *(
            "auc",
            "f1",
            "precision",
            "recall",
            "accuracy",
            "balanced_accuracy",
            "f1_tuned",
            "fpr_authentic",
            "fpr_pasted",
        ),
        *("mean_iou", "mean_iou_tp", "iou_above_50", "pixel_f1", "pixel_iou", "pixel_auc", "recall_share_10_20"),
        "auc_share_20_30",
    ],
)
def test_parts_are_what_leaving_a_photograph_out_changes(metric: str) -> None:
    """The jackknife leaves photographs out one by one; the infinitesimal one has nearly its variance."""
    scores = made()
    whole = estimates.estimate(scores, metric)
    assert whole is not None
    left = [estimates.estimate(without(scores, i), metric) for i in range(len(scores.photographs))]
    values = np.array([one.value for one in left if one is not None])
    n = len(values)
    variance = (n - 1) / n * np.square(values - values.mean()).sum()
    assert float(whole.part @ whole.part) == pytest.approx(variance, rel=0.15)
    assert abs(whole.part.sum()) < 1e-9


@pytest.mark.parametrize("metric", ["eer", "tpr_at_fpr_1"])
def test_metrics_that_jump_are_resampled(metric: str) -> None:
    """The same photographs are drawn for every network, so what they share is seen."""
    scores = made(300)
    one, again = estimates.estimate(scores, metric), estimates.estimate(scores, metric)
    assert one is not None
    assert again is not None
    assert one.resampled
    assert np.array_equal(one.part, again.part)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(200):
        chosen = rng.integers(300, size=300)
        images = np.concatenate([np.flatnonzero(scores.photograph_n == photograph) for photograph in chosen])
        false, true, _ = roc_curve(scores.label_n[images], scores.logit_n[images], drop_intermediate=False)
        gap = false - (1 - true)
        after = int((gap >= 0).argmax())
        share = -gap[after - 1] / (gap[after] - gap[after - 1])
        eer = false[after - 1] + share * (false[after] - false[after - 1])
        drawn.append(eer if metric == "eer" else true[false <= 0.01].max())
    assert np.std(one.part) == pytest.approx(np.std(drawn), rel=0.25)
    if metric == "tpr_at_fpr_1":
        assert estimates.estimate(made(299), metric) is None, "1 % of these are too few"


def test_resamples_without_a_class_keep_their_place() -> None:
    """Of seeds whose fakes are of different photographs, other resamples lack a fake; they are of no use for both."""
    found = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        label_n = np.isin(np.arange(10), rng.choice(10, 3, replace=False))
        kind_n = np.where(label_n, "inpainted", "real")
        names = np.array([f"p{i}" for i in range(10)])
        share_n = 0.1 * label_n
        sets = SetScores(rng.normal(size=10) + label_n, label_n, kind_n, names, np.arange(10), share_n, share_n, None)
        one = estimates.estimate(sets, "eer")
        assert one is not None
        assert len(one.part) == estimates.RESAMPLES
        assert not np.isfinite(one.part).all()
        found[seed] = one
    interval = crossed.crossed_interval(found)
    assert interval is not None
    assert interval.photographs == 10


@pytest.mark.parametrize("damage", ["cut", "pickle", "missing", "longer", "nan", "index"])
def test_a_damaged_file_has_no_scores(data_root: Path, damage: str) -> None:
    _, data = trained(data_root, model=LABEL)
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    if damage == "pickle":
        arrays["own.logit"] = np.array([object()] * len(arrays["own.logit"]), dtype=object)
    elif damage == "missing":
        del arrays["own.source"]
    elif damage == "longer":
        arrays["own.label"] = np.zeros(3)
    elif damage == "nan":
        arrays["own.logit"] = np.full_like(arrays["own.logit"], np.nan)
    elif damage == "index":
        arrays["own.source"] = arrays["own.source"] + 10_000
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)
    assert image_scores.read(target.getvalue()[: 100 if damage == "cut" else None], "own") is None
    if damage not in ("cut",):
        assert image_scores.read(target.getvalue(), "noise") is not None
    assert image_scores.read(data, "nowhere") is None


def small_file(**arrays: Any) -> bytes:
    """A file with one test set of ten images of five photographs. arrays: in place of these; None leaves one out."""
    label_n = np.tile([False, True], 5)
    made: dict[str, Any] = {
        "sources": np.array([f"p{i}" for i in range(5)]),
        "kinds": np.array(["real", "inpainted"]),
        "threshold": np.array(0.2),
        "own.logit": np.linspace(-1, 1, 10),
        "own.label": label_n,
        "own.kind": label_n.astype(np.uint8),
        "own.source": np.repeat(np.arange(5, dtype=np.int32), 2),
        "own.hole_share": label_n * 0.1,
        "own.sharpness": np.where(label_n, 0.5, np.nan),
        "own.iou": label_n * 0.5,
        "own.pixels": np.ones((10, 3), dtype=np.int32),
        "own.pixel_auc": np.where(label_n, 0.5, np.nan),
    }
    target = io.BytesIO()
    np.savez_compressed(target, **{name: array for name, array in {**made, **arrays}.items() if array is not None})
    return target.getvalue()


SHAPED: dict[str, list[Any]] = {
    "own.logit": [np.zeros((10, 2)), np.zeros(10, complex), np.zeros(10, int), np.array(0.0), np.zeros(10, "g")],
    "own.label": [np.zeros((10, 1), bool), np.zeros(10), np.array(["a"] * 10), np.full(10, 7, np.uint8).view(bool)],
    "own.kind": [np.full(10, 2), np.full(10, -1), np.zeros(10), np.zeros((10, 1), int)],
    "own.source": [np.full(10, 5), np.full(10, -1), np.zeros(10, bool), np.zeros((10, 2), int), None],
    "own.hole_share": [np.zeros((10, 2)), np.full(10, np.nan), np.zeros(10, complex)],
    "own.sharpness": [np.zeros((10, 2)), np.zeros(10, "M8[s]")],
    "own.iou": [np.zeros((10, 2)), np.full(10, np.nan), np.zeros(9)],
    "own.pixels": [np.zeros(10, int), np.zeros((10, 2), int), np.zeros((5, 6), int), np.full((10, 3), -1)],
    "own.pixel_auc": [np.zeros((10, 1)), np.zeros(10, "S4")],
    "sources": [np.array([["p"] * 5]), np.arange(5), np.array([b"p"] * 5), np.full(5, 2**31, np.uint32).view("U1")],
    "kinds": [np.array([["real"], ["fake"]]), np.arange(2), np.array("real"), None],
    "threshold": [np.zeros(2), np.array(1j), np.array("a"), np.array(np.nan)],
}


@pytest.mark.parametrize("name", SHAPED)
def test_an_array_of_another_shape_or_kind_is_damage(name: str) -> None:
    assert image_scores.is_whole(small_file())
    for number, array in enumerate(SHAPED[name]):
        data = small_file(**{name: array})
        assert image_scores.read(data, "own") is None, number
        assert not image_scores.is_whole(data)


def member(array: np.ndarray[Any, Any]) -> bytes:
    target = io.BytesIO()
    np.save(target, array, allow_pickle=False)
    return target.getvalue()


def added(members: list[tuple[str, bytes]], leave_out: str = "") -> bytes:
    """The small file with further members at its end."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(small_file())) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as to:
        for name in before.namelist():
            if name != leave_out:
                to.writestr(name, before.read(name))
        for name, data in members:
            to.writestr(name, data)
    return target.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["own.logit", "own.logit.npy", "notes.txt"])
def test_a_member_that_is_no_array_or_hides_another_is_damage(name: str) -> None:
    assert image_scores.is_whole(added([]))
    assert image_scores.read(added([(name, b"\0" * 2**20)]), "own") is None
    assert image_scores.sets_of(added([(name, b"\0" * 2**20)])) == []


def test_scores_that_would_fill_the_memory_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_file(sources=np.array([f"p{i}" for i in range(4)] + ["x" * 1024]))
    assert image_scores.read(data, "own") is not None
    assert image_scores.read(small_file(sources=np.array(["a"] * 4 + ["x" * 1025])), "own") is None
    assert image_scores.read(small_file(kinds=np.array(["real", "x" * 1025])), "own") is None
    monkeypatch.setattr(image_scores, "_MOST_BYTES", 2**13)
    assert image_scores.read(data, "own") is None
    assert image_scores.read(small_file(), "own") is not None
    assert image_scores.read(small_file(**{"other.logit": np.zeros(2**12)}), "own") is None, "all sets of a file"
    assert image_scores.read(small_file(kinds=np.array(["real", "x" * 900])), "own") is None, "words for each image"


def test_names_of_photographs_are_not_repeated_for_each_image() -> None:
    """As many images as a small file can have, of one photograph with a long name."""
    n = 200_000
    columns = {name: np.zeros(n) for name in ("own.logit", "own.hole_share", "own.sharpness")}
    columns |= {name: np.zeros(n, np.uint8) for name in ("own.kind", "own.source")}
    columns |= {"own.label": np.zeros(n, bool), "sources": np.array(["x" * 1024])}
    data = small_file(**columns, **dict.fromkeys(("own.iou", "own.pixels", "own.pixel_auc")))
    tracemalloc.start()
    try:
        found = image_scores.read(data, "own")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert list(found.photographs) == ["x" * 1024]
    assert most < 2**26, "which are 800 MB as text"


def test_a_header_that_describes_more_than_the_file_holds_is_damage() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    assert image_scores.read(added([("own.logit.npy", header.getvalue())], "own.logit.npy"), "own") is None
    pickled = io.BytesIO()
    np.save(pickled, np.array([None] * 10), allow_pickle=True)
    assert image_scores.read(added([("own.logit.npy", pickled.getvalue())], "own.logit.npy"), "own") is None
    whole = added([("own.logit.npy", member(np.linspace(-1, 1, 10)))], "own.logit.npy")
    assert image_scores.read(whole, "own") is not None
