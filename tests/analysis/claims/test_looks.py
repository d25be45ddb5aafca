"""Claims of a study whose seeds are added at looks: verdicts, intervals, sentences, and which arms get more seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from analysis.claims import added_seeds, judge, looks
from analysis.claims.plan_history import change_sentences
from analysis.study import Study
from tests.analysis.make_store import NOW, ArmSpec, make_store

PSNR, L2 = "test/psnr_db", "test/l2_raw"
LOOKS = {"first": 4, "step": 4, "most": 16, "until": "decided"}
FAR = {"text": "far is better", "metric": PSNR, "better": "far", "than": "base"}
LESS = {"text": "far errs less", "metric": L2, "better": "far", "than": "base"}
WORSE = {"text": "far is worse", "metric": PSNR, "better": "base", "than": "far"}
NEAR = {"text": "near is better", "metric": PSNR, "better": "near", "than": "base"}
EQUAL = {"text": "twin is equal", "metric": PSNR, "equal": ["twin", "base"], "within": 1.0}
ORDER = {"text": "in order", "metric": PSNR, "order": ["far", "twin", "fill"]}
LEARNS = {"text": "it learns", "metric": PSNR, "improves": "base", "after": 10}
SETTLES = {"text": "it settles", "metric": PSNR, "settles": "base", "after": 10, "within": 2.0}
ABOVE = {"text": "a number", "metric": PSNR, "arm": "base", "above": L2}
EXACT = {"text": "fills", "metric": PSNR, "better": "fill", "than": "blur"}
FAILS = {"text": "it fails", "fails": "broken"}
ARMS = (
    ArmSpec("base", 25.0),
    ArmSpec("far", 27.0),
    ArmSpec("near", 25.02, sd=0.5),
    ArmSpec("twin", 25.01),
    ArmSpec("fill", 22.0, trains=False),
    ArmSpec("blur", 20.0, trains=False),
    ArmSpec("broken", 20.0, states=dict.fromkeys(range(16), "failed")),
)


def study_of(folder: Path, *claims: Mapping[str, Any], seeds: int = 8, less: Mapping[str, int] | None = None) -> Study:
    """A study with these claims, 8 seeds an arm, and fewer for the arms of `less`."""

    def change(plan: dict[str, Any]) -> None:
        plan["looks"] = LOOKS
        for arm in plan["arms"]:
            number = (less or {}).get(arm["name"], seeds)
            arm["trials"] = {seed: trial for seed, trial in arm["trials"].items() if int(seed) < number}

    return studies.read(make_store(folder, ARMS, range(seeds), claims, change=change), "partial-conv", NOW)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (FAR, "holds"),
        (LESS, "holds"),
        (WORSE, "does not hold"),
        (NEAR, "undecided"),
        (EQUAL, "holds"),
        (ORDER, "holds"),
        (LEARNS, "holds"),
        (SETTLES, "holds"),
        (ABOVE, "holds"),
        (EXACT, "holds"),
        (FAILS, "holds"),
    ],
    ids=lambda case: case["text"] if isinstance(case, dict) else case,
)
def test_each_form_is_judged_at_its_look(tmp_path: Path, claim: Mapping[str, Any], verdict: str) -> None:
    study = study_of(tmp_path, claim)
    (judged,) = judge.judge(study)
    assert judged.verdict == verdict
    parts = list(looks.series(study, claim, looks.family(study)))
    assert len(parts) == (0 if claim in (EXACT, FAILS) else looks.comparisons(claim))
    for part in parts:
        interval = part.interval()
        assert interval is not None
        assert ("Decided at look 2 of 4, with 8 of at most 16 pairs" in judged.sentence) == (verdict != "undecided")
        assert "holds at every look" in judged.sentence
    # Who goes on, by the verdict: the arms of what is undecided, and the baseline.
    names = added_seeds.open_arms(study.store, dict(study.plan))
    assert names <= {"near", "base"}
    assert bool(names) == (verdict == "undecided" and parts[0].goes_on)


def test_no_claim_is_decided_by_four_seeds_of_any_difference(tmp_path: Path) -> None:
    study = study_of(tmp_path, FAR, NEAR, seeds=4)
    verdicts = judge.judge(study)
    assert [one.verdict for one in verdicts] == ["undecided", "undecided"]
    assert "n = 4 pairs of seeds, so there is no interval" in verdicts[0].sentence
    assert "The next look may decide it" in verdicts[0].sentence
    assert {"far", "base"} <= added_seeds.open_arms(study.store, dict(study.plan))


def test_a_verdict_stays_when_its_arms_go_on_for_another_claim(tmp_path: Path) -> None:
    before = judge.judge(study_of(tmp_path / "8", FAR, NEAR))[0]
    after = judge.judge(study_of(tmp_path / "16", FAR, NEAR, seeds=16))[0]
    assert (before.verdict, before.ours) == (after.verdict, after.ours)
    assert "with 8 of at most 16 pairs" in after.sentence


def test_a_look_waits_for_trials_that_run(tmp_path: Path) -> None:
    running = tuple(ArmSpec(arm.name, arm.psnr, states={6: "running"}) if arm.name == "far" else arm for arm in ARMS)

    def change(plan: dict[str, Any]) -> None:
        plan["looks"] = LOOKS

    study = studies.read(make_store(tmp_path, running, range(8), [FAR], change=change), "partial-conv", NOW)
    (part,) = looks.series(study, FAR, 1)
    assert part.counts == (4,)
    assert judge.judge(study)[0].verdict == "undecided"


def test_arms_whose_trials_all_fail_get_no_more_seeds(tmp_path: Path) -> None:
    claim = {"text": "broken is better", "metric": PSNR, "better": "broken", "than": "base"}
    study = study_of(tmp_path, claim)
    assert added_seeds.open_arms(study.store, dict(study.plan)) == set()
    assert "It gets no more seeds" in judge.judge(study)[0].sentence


def test_a_claim_that_is_not_tested_adds_no_seeds(tmp_path: Path) -> None:
    claim = {**NEAR, "least_size": 10_000}
    study = study_of(tmp_path, claim, seeds=4)
    (judged,) = judge.judge(study)
    assert judged.verdict == "not tested"
    assert "look" not in judged.sentence.replace("holds at every look", "")
    assert added_seeds.open_arms(study.store, dict(study.plan)) == set()
    assert added_seeds.open_arms(study.store, {**study.plan, "claims": [NEAR]}) == {"near", "base"}


def test_the_report_tells_how_the_seeds_came_about(tmp_path: Path) -> None:
    study = study_of(tmp_path, FAR, NEAR, less={"far": 4})
    (note,) = [note for note in study.notes if note.startswith("Seeds were added")]
    assert "4 at first, then 4 at each look" in note
    assert "at most 16" in note
    assert "4 for “far”; 8 for “base”, “near”, “twin” and “broken”" in note
    assert len(study.values("far", PSNR)) == 4
    assert change_sentences(study) == []
