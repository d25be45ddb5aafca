"""Intervals of detectors in a study, its tables and its claims: over seeds and test photographs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import study as studies
from analysis.claims import judge
from analysis.report import build as report
from analysis.report import formats
from analysis.statistics import intervals
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.analysis.detection.detection_store import make_detection_store
from tests.analysis.make_store import NOW

ARMS = {"plain": 1.0, "better": 1.6, "constant box": 0.2, "probe": 1.2}


def read(store: FolderStore) -> studies.Study:
    return studies.read(store, "detectors", NOW)


@pytest.mark.parametrize("metric", ["test/auc", "test/f1", "test/eer", "test/mean_iou", "test/auc_on_jpeg50"])
def test_an_interval_covers_seeds_and_photographs(tmp_path: Path, metric: str) -> None:
    study = read(make_detection_store(tmp_path, ARMS))
    found = study.interval("plain", metric)
    seeds = intervals.mean_interval(study.values("plain", metric).values())
    assert found is not None
    assert seeds is not None
    assert (found.mean, found.sd, found.n) == pytest.approx((seeds.mean, seeds.sd, seeds.n))
    assert found.photographs == 60
    assert found.of_photographs >= 0
    gap = study.difference("better", "plain", metric)
    assert gap is not None
    assert (gap.n, gap.photographs) == (4, 60)


def test_an_arm_without_parameters_has_an_interval_over_photographs(tmp_path: Path) -> None:
    study = read(make_detection_store(tmp_path, ARMS))
    for arm, metric in (("probe", "test/auc"), ("constant box", "test/mean_iou"), ("probe", "test/auc_on_blurred")):
        found = study.interval(arm, metric)
        assert found is not None
        assert found.exact
        assert found.half_width
        assert found.bounds == (found.low, found.high)
    gap = study.difference("constant box", "probe", "test/auc")
    assert gap is not None
    assert gap.exact
    assert not gap.contains(0.0)


def test_without_scores_of_images_it_covers_the_seeds_and_the_report_says_so(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, ARMS, with_scores=lambda arm: False)
    found = read(store).interval("plain", "test/auc")
    assert found == intervals.mean_interval(read(store).values("plain", "test/auc").values())
    text = formats.markdown(report.build(store, "detectors", NOW))
    assert "Intervals cover the seeds alone, since no scores of single images are known" in text


def test_scores_that_disagree_with_the_record_do_not_count(tmp_path: Path) -> None:
    """Those of another epoch than the reported one, or of another version."""
    store = make_detection_store(tmp_path, ARMS)
    for path in Path(tmp_path).glob("trials/*/result/*.json"):
        body = json.loads(path.read_bytes())
        if "test/auc" in body["history"] and body["history"]["epoch"] != [0.0]:
            body["history"]["test/auc"][-1] += 0.01
            body.pop(layout.CHECKSUM)
            path.write_text(json.dumps(body))
    found = read(store).interval("plain", "test/auc")
    assert found is not None
    assert found.photographs == 0


def test_the_report_says_what_an_interval_covers(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, ARMS, with_scores=lambda arm: arm != "better")
    made = report.build(store, "detectors", NOW)
    text = formats.markdown(made)
    assert "Intervals cover the seeds and the test photographs (60)" in text
    assert "Intervals of test AUC and test mean IoU of “better” cover the seeds alone." in text
    assert "its interval covers the photographs alone" in text
    assert "Intervals of differences cover the seeds and the test photographs." in text
    assert "sign-flip test, or a t test where the interval covers test photographs" in text
    head, *rows = formats.csv(made).splitlines()
    assert head.endswith(",photographs")
    assert {row.rpartition(",")[2] for row in rows} == {"60", "0"}


def test_claims_are_judged_over_photographs_too(tmp_path: Path) -> None:
    """A difference that the seeds show clearly, on few photographs that would not show it again."""
    claims: list[dict[str, Any]] = [
        {"text": "better is better", "metric": "test/auc", "better": "better", "than": "plain", "by": 0.0},
        {"text": "the probe beats the box", "metric": "test/auc", "better": "probe", "than": "constant box", "by": 0.0},
        {"text": "JPEG hurts", "metric": "test/auc", "arm": "plain", "above": "test/auc_on_jpeg50"},
        {"text": "better than guessing", "metric": "test/auc", "arm": "plain", "above": 0.5},
    ]
    verdicts = judge.judge(read(make_detection_store(tmp_path, ARMS, claims=claims, photographs=200)))
    assert [one.verdict for one in verdicts] == ["holds"] * 4
    assert "n = 4 pairs of seeds and 200 test photographs" in verdicts[0].sentence
    assert "one evaluation each and 200 test photographs" in verdicts[1].sentence
    assert "n = 4 seeds and 200 test photographs" in verdicts[2].sentence
    few = judge.judge(read(make_detection_store(tmp_path / "few", ARMS, claims=claims, photographs=8)))
    assert few[1].verdict == "undecided"
    assert "only more test photographs could decide it" in few[1].sentence


def test_shares_gained_and_ratios_are_judged_over_photographs_too(tmp_path: Path) -> None:
    """Two columns of one detector, compared after both were related to a baseline or to each other."""
    claims: list[dict[str, Any]] = [
        {"text": "easier", "metric": "test/f1", "arm": "plain", "above": "test/mean_iou", "over": "constant box"},
        {"text": "alike", "metric": "test/auc", "arm": "plain", "like": "test/auc_on_jpeg50", "share": 0.5},
    ]
    study = read(make_detection_store(tmp_path, ARMS, claims=claims, photographs=200))
    verdicts = judge.judge(study)
    assert all("n = 4 seeds and 200 test photographs" in one.sentence for one in verdicts)
    f1, iou, low_f1, low_iou = (
        study.values(arm, metric) for arm in ("plain", "constant box") for metric in ("test/f1", "test/mean_iou")
    )
    gaps = [
        (f1[seed] - low_f1[seed]) / (1 - low_f1[seed]) - (iou[seed] - low_iou[seed]) / (1 - low_iou[seed])
        for seed in f1
    ]
    found = study.gap("plain", "test/f1", "test/mean_iou", over="constant box")
    assert found is not None
    assert found.mean == pytest.approx(sum(gaps) / len(gaps))
    assert found.photographs == 200
    like = study.relative_gap("plain", "test/auc", "test/auc_on_jpeg50")
    assert like is not None
    here, there = study.values("plain", "test/auc"), study.values("plain", "test/auc_on_jpeg50")
    assert like.mean == pytest.approx(sum(here[seed] / there[seed] - 1 for seed in here) / len(here))
    alone = make_detection_store(tmp_path / "alone", ARMS, claims=claims, with_scores=lambda arm: arm != "plain")
    assert all("n = 4 seeds)" in one.sentence for one in judge.judge(read(alone)))


def test_what_is_about_an_earlier_epoch_covers_the_seeds_alone(tmp_path: Path) -> None:
    """The scores of single images are stored after the last epoch."""
    claim = {"text": "settled", "metric": "test/auc", "settles": "plain", "after": 2, "within": 0.5}
    (judged,) = judge.judge(read(make_detection_store(tmp_path, ARMS, claims=[claim])))
    assert "95 % interval over seeds alone, n = 4 seeds" in judged.sentence


def test_arms_with_sets_of_their_own_are_compared_on_a_common_set(tmp_path: Path) -> None:
    """A score on the own test images is not compared with that of an arm that has others."""
    store = make_detection_store(
        tmp_path,
        {"plain": 1.0, "shortcut": 2.0, "probe": 1.2},
        metrics=("test/auc_on_jpeg50", "test/auc", "test/auc_on_jpeg90"),
        forged={"shortcut": {"fake_encoder": {"name": "png"}}},
    )
    study = read(store)
    assert study.groups_in("test/auc_on_jpeg50") == [["plain", "shortcut", "probe"]]
    assert study.groups_in("test/auc") == [["plain", "probe"], ["shortcut"]]
    assert study.groups_in("test/auc_on_jpeg90") == [["plain", "probe"], ["shortcut"]], "a change of the own images"
    made = report.build(store, "detectors", NOW)
    marks = {row.arm: [row.entries[metric].mark for metric in study.metrics] for row in made.table.rows}
    assert all(marks[name][0] for name in ("shortcut",))
    assert marks["shortcut"][1:] == ["", ""], "it is compared with no other arm there"
    assert any(marks[name][1] == "best" for name in ("plain", "probe"))
    assert not any("In test AUC," in sentence for sentence in made.answer)


def test_looks_say_that_they_are_over_seeds_alone(tmp_path: Path) -> None:
    claim = {"text": "better is better", "metric": "test/auc", "better": "better", "than": "plain", "by": 0.0}
    study = read(make_detection_store(tmp_path, ARMS, seeds=range(8), claims=[claim]))
    until = {"first": 4, "step": 4, "most": 16, "until": {"half_width": 0.1, "metric": "test/auc"}}
    study = replace(study, plan={**study.plan, "looks": until})
    assert studies.seeds_note(study.plan).endswith("the former cover the seeds alone.")
    assert "95 % interval over seeds alone that holds at every look" in judge.judge(study)[0].sentence
    fixed = read(make_detection_store(tmp_path / "fixed", ARMS, claims=[claim]))
    assert "alone" not in judge.judge(fixed)[0].sentence


def test_seeds_that_all_agree_have_no_interval(tmp_path: Path) -> None:
    """Of two seeds without an error on five photographs whose scores are not known."""
    claim = {"text": "high", "metric": "test/accuracy", "arm": "plain", "above": 0.995}
    store = make_detection_store(tmp_path, {"plain": 30.0, "better": 40.0}, [0, 1], 5, claims=[claim])
    assert judge.judge(read(store))[0].verdict == "undecided"
    for file in tmp_path.rglob("image_scores.npz"):
        file.unlink()
    study = read(store)
    found, gap = study.interval("plain", "test/accuracy"), study.difference("better", "plain", "test/accuracy")
    assert found is not None
    assert gap is not None
    assert (found.mean, found.n, found.bounds, found.photographs) == (1.0, 2, None, 0)
    assert (gap.mean, gap.bounds) == (0.0, None)
    assert judge.judge(study)[0].verdict == "undecided"


def test_one_evaluation_without_photographs_decides_nothing(tmp_path: Path) -> None:
    claim = {"text": "the probe wins", "metric": "test/auc", "better": "probe", "than": "constant box", "by": 0.0}
    store = make_detection_store(tmp_path, ARMS, with_scores=lambda arm: False, claims=[claim])
    study = read(store)
    found, gap = study.interval("probe", "test/auc"), study.difference("probe", "constant box", "test/auc")
    assert found is not None
    assert gap is not None
    assert found.exact
    assert found.bounds is None
    assert gap.bounds is None
    (judged,) = judge.judge(study)
    assert judged.verdict == "undecided"
    assert "(one evaluation each, so there is no interval)" in judged.sentence
