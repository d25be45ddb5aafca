"""Verdicts on claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from analysis.claims import judge as claims
from analysis.study import Study
from sweeps.store import attempts as stored_attempts
from tests.analysis.make_store import NOW, ArmSpec, make_store

GOOD, SAME, BAD = ArmSpec("good", 27.0), ArmSpec("same", 27.02, sd=0.3), ArmSpec("bad", 25.0)
FILL, BLUR = ArmSpec("fill", 24.0, trains=False), ArmSpec("blur", 23.0, trains=False)
BROKEN = ArmSpec("broken", 20.0, states=dict.fromkeys(range(8), "failed"))
HALF = ArmSpec("half", 20.0, states=dict.fromkeys(range(4), "failed"))
NULL = ArmSpec("null", 20.0, nan=True)
OPEN = ArmSpec("open", 20.0, states=dict.fromkeys(range(8), "running"))
DULL, DULLER = ArmSpec("dull", 22.0), ArmSpec("duller", 21.5)
BOX = ArmSpec("box", 23.5, trains=False, columns={"test/f1": 0.5, "test/mean_iou": 0.4})
BOXES = ArmSpec("boxes", 25.0, columns={"test/f1": 0.8, "test/mean_iou": 0.7, "test/hole_fraction": 0.2})
ARMS = (GOOD, SAME, BAD, FILL, BLUR, BROKEN, HALF, NULL, OPEN, DULL, DULLER, BOX, BOXES)
PSNR, L2, HOLES = "test/psnr_db", "test/l2_raw", "test/hole_fraction"


@pytest.fixture(scope="module")
def study_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that judges one claim on a study of these arms; it makes one store per number of seeds."""

    @cache
    def study(seeds: int) -> Study:
        store = make_store(tmp_path_factory.mktemp("store"), ARMS, range(seeds), [])
        return studies.read(store, "partial-conv", NOW)

    def judge(claim: Mapping[str, Any], seeds: int = 8, others: Sequence[Mapping[str, Any]] = ()) -> claims.Verdict:
        plan = {**study(seeds).plan, "claims": [{"text": "it is so", **claim}, *others]}
        return claims.judge(replace(study(seeds), plan=plan))[0]

    return judge


CASES = [
    ({"metric": PSNR, "better": "good", "than": "bad"}, "holds"),
    ({"metric": L2, "better": "good", "than": "bad", "by": 0.0}, "holds"),
    ({"metric": PSNR, "better": "bad", "than": "good"}, "does not hold"),
    ({"metric": L2, "better": "bad", "than": "good"}, "does not hold"),
    ({"metric": PSNR, "better": "good", "than": "same"}, "undecided"),
    ({"metric": PSNR, "better": "good", "than": "bad", "by": 1.0}, "holds"),
    ({"metric": PSNR, "better": "good", "than": "bad", "by": 5.0}, "does not hold"),
    ({"metric": PSNR, "better": "good", "than": "bad", "by": 2.0}, "undecided"),
    ({"metric": HOLES, "settles": "boxes", "after": 10, "within": 0.5}, "undecided"),
    ({"metric": HOLES, "improves": "boxes", "after": 10}, "undecided"),
    ({"metric": PSNR, "better": "fill", "than": "blur"}, "holds"),
    ({"metric": PSNR, "better": "blur", "than": "fill"}, "does not hold"),
    ({"metric": PSNR, "better": "good", "than": "bad", "epoch": 10}, "holds"),
    ({"metric": PSNR, "better": "good", "than": "bad", "epoch": 7}, "undecided"),
    ({"metric": PSNR, "better": "good", "than": "open"}, "undecided"),
    ({"metric": PSNR, "arm": "good", "above": L2}, "holds"),
    ({"metric": L2, "arm": "good", "above": PSNR}, "does not hold"),
    ({"metric": L2, "arm": "open", "above": PSNR}, "undecided"),
    ({"metric": PSNR, "better": "good", "than": "nobody"}, "undecided"),
    ({"metric": "test/strange", "better": "good", "than": "bad"}, "undecided"),
    ({"metric": "sys/time_s", "better": "fill", "than": "bad"}, "holds"),
    ({"metric": "sys/images_per_s", "equal": ["good", "bad"], "within": 50.0}, "holds"),
    ({"metric": "sys/images_per_s", "better": "good", "than": "fill"}, "undecided"),
    ({"metric": PSNR, "equal": ["good", "same"], "within": 1.0}, "holds"),
    ({"metric": PSNR, "equal": ["good", "bad"], "within": 0.5}, "does not hold"),
    ({"metric": PSNR, "equal": ["good", "same"], "within": 0.01}, "undecided"),
    ({"metric": PSNR, "order": ["good", "bad", "fill", "blur"]}, "holds"),
    ({"metric": PSNR, "order": ["good", "same", "bad"]}, "undecided"),
    ({"metric": PSNR, "order": ["good", "blur", "fill"]}, "does not hold"),
    ({"metric": PSNR, "not_worse": "good", "than": "same", "within": 1.0}, "holds"),
    ({"metric": PSNR, "not_worse": "good", "than": "bad", "within": 0.1}, "holds"),
    ({"metric": L2, "not_worse": "good", "than": "bad", "within": 1.0e-6}, "holds"),
    ({"metric": PSNR, "not_worse": "bad", "than": "good", "within": 0.5}, "does not hold"),
    ({"metric": PSNR, "not_worse": "good", "than": "same", "within": 0.001}, "undecided"),
    ({"metric": PSNR, "not_worse": "good", "than": "open", "within": 1.0}, "undecided"),
    ({"metric": PSNR, "arm": "good", "above": 26.0}, "holds"),
    ({"metric": PSNR, "arm": "good", "above": 30.0}, "does not hold"),
    ({"metric": PSNR, "arm": "open", "above": 26.0}, "undecided"),
    ({"metric": "test/f1", "arm": "boxes", "above": "test/mean_iou", "over": "box"}, "holds"),
    ({"metric": "test/mean_iou", "arm": "boxes", "above": "test/f1", "over": "box"}, "does not hold"),
    ({"metric": "test/f1", "arm": "boxes", "above": "test/mean_iou", "over": "good"}, "undecided"),
    ({"metric": PSNR, "arm": "boxes", "like": "test/psnr_db", "share": 0.1}, "holds"),
    ({"metric": "test/f1", "arm": "boxes", "like": "test/mean_iou", "share": 0.2}, "holds"),
    ({"metric": "test/f1", "arm": "boxes", "like": "test/mean_iou", "share": 0.1}, "does not hold"),
    ({"metric": PSNR, "arm": "good", "like": "test/f1", "share": 0.1}, "undecided"),
    ({"metric": PSNR, "equal": ["dull", "duller"], "within": 1.0}, "not tested"),
    ({"metric": L2, "equal": ["dull", "duller"], "within": 1.0}, "not tested"),
    ({"metric": PSNR, "equal": ["good", "dull"], "within": 1.0}, "does not hold"),
    ({"metric": PSNR, "better": "dull", "than": "duller"}, "holds"),
    ({"metric": PSNR, "better": "good", "than": "bad", "least_size": 64}, "not tested"),
    ({"metric": PSNR, "better": "good", "than": "bad", "least_size": 16}, "holds"),
    ({"fails": "broken"}, "holds"),
    ({"fails": "null"}, "holds"),
    ({"fails": "good"}, "does not hold"),
    ({"fails": "half"}, "undecided"),
    ({"fails": "open"}, "undecided"),
]


@pytest.mark.parametrize(("claim", "expected"), CASES, ids=lambda value: str(value))
def test_verdicts(study_of: Any, claim: Mapping[str, Any], expected: str) -> None:
    found = study_of(claim)
    assert found.verdict == expected, found.sentence
    assert found.sentence.endswith(".")
    if "like" in claim and expected != "undecided":
        assert re.fullmatch(r"[+−]?[\d.]+ \[[+−]?[\d.]+, [+−]?[\d.]+\] as a share", found.ours), found.ours
    assert not re.search(r"[;,.:] *[;,.:]|  |\( | \)", found.sentence), "marks that follow each other"


def test_a_sentence_has_figures_and_n(study_of: Any) -> None:
    found = study_of({"metric": PSNR, "better": "good", "than": "bad", "source": "table 2"})
    assert "dB better than “bad” [" in found.sentence
    assert "n = 8 pairs" in found.sentence
    assert found.source == "table 2"


def test_why_a_claim_is_not_tested(study_of: Any) -> None:
    dull = study_of({"metric": PSNR, "equal": ["dull", "duller"], "within": 1.0}).sentence
    assert dull.startswith("Not tested: neither “dull” nor “duller” is better than “blur”, which is not trained.")
    small = study_of({"metric": PSNR, "better": "good", "than": "bad", "least_size": 64}).sentence
    assert small.startswith("Not tested: the claim needs images of at least 64 px, and those of “good” have 16 px.")


def test_gains_are_shares_of_what_an_arm_leaves(study_of: Any) -> None:
    """0.5 to 0.8 is 60 % of what was left to 1, 0.4 to 0.7 is 50 %."""
    found = study_of({"metric": "test/f1", "arm": "boxes", "above": "test/mean_iou", "over": "box"})
    assert "both as the share gained of what “box” leaves to 1, is +0.1000" in found.sentence


def test_one_seed_decides_nothing(study_of: Any) -> None:
    found = study_of({"metric": PSNR, "better": "good", "than": "bad"}, seeds=1)
    assert found.verdict == "undecided"
    assert "no interval" in found.sentence


def test_many_claims_are_judged_on_wider_intervals(study_of: Any) -> None:
    """Judged alone the claim holds; as one of many claims on the same data it is undecided."""
    near = {"metric": PSNR, "better": "good", "than": "bad", "by": 1.85}
    assert study_of(near).verdict == "holds"
    together = study_of(near, others=[{"text": "x", "metric": PSNR, "order": ["good", "bad"] * 20}])
    assert together.verdict == "undecided"
    assert "95 % interval, simultaneous for 40 comparisons" in together.sentence


def test_undecided_says_how_many_seeds_more(study_of: Any) -> None:
    near = study_of({"metric": PSNR, "better": "good", "than": "bad", "by": 1.9}).sentence
    nearer = study_of({"metric": PSNR, "better": "good", "than": "bad", "by": 1.93}).sentence
    seeds = [int(re.search(r"about (\d+) more seeds would decide", text)[1]) for text in (near, nearer)]
    assert 1 <= seeds[0] < seeds[1]
    at_it = study_of({"metric": PSNR, "better": "null", "than": "bad"}).sentence
    assert "would decide" not in at_it


def test_lost_seeds_are_counted(study_of: Any) -> None:
    found = study_of({"metric": PSNR, "better": "good", "than": "half"})
    assert "n = 4 pairs of seeds; 4 of 8 missing" in found.sentence


def test_an_epoch_without_test_says_which_have_one(study_of: Any) -> None:
    found = study_of({"metric": PSNR, "better": "good", "than": "bad", "epoch": 7})
    assert "it was evaluated after 10 and 20" in found.sentence


def test_trouble_with_a_machine_is_no_failure_to_train(tmp_path: Path) -> None:
    arm = ArmSpec("net", 20.0, states={0: "queued"})
    store = make_store(tmp_path, [arm], [0], [{"text": "it diverges", "fails": "net"}])
    trial = studies.read(store, "partial-conv", NOW).cells[0].trial
    attempt = stored_attempts.claim(store, trial, 0, {"claimed_at": NOW})
    assert attempt is not None
    stored_attempts.end(store, attempt, "failed", NOW, {"type": "StoreError", "message": "the disk is full"})
    found = claims.judge(studies.read(store, "partial-conv", NOW))[0]
    assert found.verdict == "undecided"
    assert "StoreError" in found.sentence


def test_speeds_on_different_machines_are_not_compared(tmp_path: Path) -> None:
    claim = {"text": "it is faster", "metric": "sys/time_s", "better": "fill", "than": "good"}
    study = studies.read(make_store(tmp_path, (GOOD, BAD, FILL), range(3), [claim]), "partial-conv", NOW)
    other = {key: {**study.results[key], "provenance": {"hardware": {"gpu": "H200"}}} for key in study.results}
    mixed = replace(study, results={**study.results, **{k: other[k] for k in study.arm("good").trials.values()}})
    assert claims.judge(study)[0].verdict == "holds"
    assert "at the median epoch" in claims.judge(study)[0].sentence
    (verdict,) = claims.judge(mixed)
    assert verdict.verdict == "not tested"
    assert "different machines (cpu AMD EPYC 7763; gpu H200)" in verdict.sentence
    elsewhere = replace(study, results={**study.results, **{k: other[k] for k in study.arm("bad").trials.values()}})
    assert claims.judge(elsewhere)[0].verdict == "holds"
