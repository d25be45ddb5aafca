"""Seeds until differences are precise, and while a budget lasts: who gets more, what is told, replayed decisions."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import studies
from analysis.claims import added_seeds, judge
from analysis.claims.added_seeds import open_arms
from analysis.claims.expected_seeds import expected_number
from analysis.report import build
from analysis.statistics.sequential.design import Design
from cluster.driver import driver
from cluster.driver.looks import at_most, grown
from sweeps.cli.main import main
from sweeps.spec import expand, loader
from sweeps.spec.plan import Plan
from sweeps.store import attempts
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from tests.cluster.driver.test_added_seeds import NOISY, PROGRAM
from trainables import schema

CLAIMS = NOISY[NOISY.index("claims:") :]
TIME_S = 600.0
"""Training time of every trial."""
SPREAD = {0.0: 0.0, 9.0: 0.02, 1.2: 2.0}
"""How far scores of the arms with this number deviate from it."""

Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    def make(until: str, claims: str = "") -> Plan:
        shutil.copy(PROGRAM, tmp_path)
        file = tmp_path / "noisy.yaml"
        file.write_text(NOISY.replace("until: decided", f"until: {until}").replace(CLAIMS, claims))
        return expand.expand(loader.load(file), schema)

    return make


def finish(plan: Plan, store: FolderStore) -> None:
    """Write results of the plan's trials that have none, as a worker does."""
    for trial, _ in plan.runs():
        if not stored_trials.is_finished(store, trial.id, trial.epochs):
            number = float(trial.config["parameters"]["number"])
            score = number + SPREAD[number] * math.sin(5 * trial.seed + number)
            attempt = attempts.claim(store, trial.id, 0, {"claimed_at": 0.0, "provenance": {}})
            assert attempt is not None
            history = {"epoch": [1.0], "test/score": [score], "sys/time_s": [TIME_S]}
            assert stored_trials.finish(store, attempt, 1, {"history": history, "facts": {}, "provenance": {}})
            attempts.end(store, attempt, "done", 1.0)


def all_looks(plan: Plan, store: FolderStore) -> list[tuple[int, ...]]:
    """The numbers of seeds of the arms at each look, in plan order."""
    seen: list[tuple[int, ...]] = []
    while True:
        now = grown(plan, store, open_arms)
        numbers = tuple(len(arm.trials) for arm in now.arms)
        if numbers in seen:
            return seen
        seen.append(numbers)
        finish(now, store)


@pytest.mark.parametrize(
    ("until", "claims", "numbers", "told"),
    [
        (
            "{half_width: 0.05, metric: test/score}",
            "",
            [(4, 4, 4), (8, 8, 8), (12, 8, 12)],
            ["for “far” with 8 pairs, precise enough", "for “near” with 12 pairs, not precise enough"],
        ),
        ("{half_width: 5, metric: test/score}", CLAIMS, [(4, 4, 4), (8, 8, 8)], ["simultaneously for 2 arms"]),
        ("{budget: 5h}", "", [(4, 4, 4), (8, 8, 8)], ["taken 4.0 h of the budget of 5h", "2.0 h, which does not fit"]),
        ("{budget: 6h}", "", [(4, 4, 4), (8, 8, 8), (12, 12, 12)], ["the planned number of 12 seeds is reached"]),
        ("{budget: 5h}", CLAIMS, [(4, 4, 4), (8, 8, 8)], ["would take about 80.0 min, which does not fit"]),
        ("{budget: 6h}", CLAIMS, [(4, 4, 4), (8, 8, 8), (12, 8, 12)], ["the planned number of 12 seeds is reached"]),
        ("{budget: 1h}", CLAIMS, [(4, 4, 4)], ["taken 2.0 h of the budget of 1h", "does not fit, so looks have ended"]),
    ],
)
def test_looks_end_by_the_rule(
    planned: Planned,
    tmp_path: Path,
    until: str,
    claims: str,
    numbers: list[tuple[int, ...]],
    told: list[str],
) -> None:
    plan, store = planned(until, claims), FolderStore(tmp_path / "store")
    assert all_looks(plan, store) == numbers
    # A later reader finds the same numbers, even if trials of seeds that no look asked for have ended since.
    finish(at_most(plan), store)
    now = grown(plan, store, open_arms)
    assert tuple(len(arm.trials) for arm in now.arms) == numbers[-1]
    notes = " ".join(added_seeds.status_notes(store, now.to_json([])))
    for words in told:
        assert words in notes


def test_the_commands_and_the_report_tell_how_the_seeds_came_about(
    planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, store = planned("{budget: 1h}", CLAIMS), FolderStore(tmp_path / "store")
    finish(plan, store)
    driver.write(plan, store, ())
    told = ("Seeds were added while the next look fitted into 1h of training", "does not fit, so looks have ended")
    for verb in ("status", "claims"):
        assert main([verb, "noisy", "--store", store.uri]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert all(words in shown for words in told)
    assert all(words in " ".join(build.build(store, "noisy").table.on_results) for words in told)


def test_an_arm_whose_trials_fail_gets_no_more_seeds(planned: Planned, tmp_path: Path) -> None:
    plan, store = planned("{half_width: 0.05, metric: test/score}"), FolderStore(tmp_path / "store")
    finish(plan, store)
    study = studies.of_plan(store, "noisy", plan.to_json([]))
    assert added_seeds.arms_to_add(study) == {"base", "far", "near"}
    lost = {key: result for key, result in study.results.items() if key not in study.arm("near").trials.values()}
    records = study.records[study.records["arm"] != "near"]
    assert added_seeds.arms_to_add(dataclasses.replace(study, results=lost, records=records)) == {"base", "far"}


def test_claims_do_not_end_looks_that_ask_for_precision(planned: Planned, tmp_path: Path) -> None:
    plan, store = planned("{half_width: 0.05, metric: test/score}", CLAIMS), FolderStore(tmp_path / "store")
    all_looks(plan, store)
    now = grown(plan, store, open_arms)
    far, near = judge.judge(studies.of_plan(store, "noisy", now.to_json([])))
    assert far.verdict == "holds"
    assert "Decided at look 2 of 3" in far.sentence
    assert "The planned number of 12 seeds did not decide it" in near.sentence


def test_plans_tell_the_least_the_expected_and_the_most(
    planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for until, claims in (("decided", CLAIMS), ("{half_width: 1, metric: test/score}", ""), ("{budget: 2h}", "")):
        planned(until, claims)
        assert main(["plan", str(tmp_path / "noisy.yaml"), "--store", str(tmp_path / "new")]) == 0
        told[until] = " ".join(capsys.readouterr().out.split())
        assert "3 arms x up to 4 seeds = 12 different trials" in told[until]
        assert "3 arms x up to 12 seeds = 36 different trials" in told[until]
    assert "expected is for differences of 1 standard deviation" in told["decided"]
    assert "expected is halfway" in told["{half_width: 1, metric: test/score}"]
    assert "expected: noisy: 3 arms x up to 8 seeds = 24" in told["{half_width: 1, metric: test/score}"]
    assert "where the next one does not fit into 2h" in told["{budget: 2h}"]


def test_plans_begin_with_the_seeds_so_far_until_looks_have_ended(
    planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> str:
        assert main(["plan", str(tmp_path / "noisy.yaml"), "--store", str(tmp_path / "store")]) == 0
        return " ".join(capsys.readouterr().out.split())

    plan, store = planned("{half_width: 5, metric: test/score}", CLAIMS), FolderStore(tmp_path / "store")
    finish(plan, store)
    first = told()
    assert first.startswith("noisy: 3 arms x up to 8 seeds = 24 different trials, 12 done before, 12 to run")
    assert "expected: noisy: 3 arms x up to 8 seeds" in first
    assert "looks have ended" not in first
    finish(grown(plan, store, open_arms), store)
    second = told()
    assert second.startswith("noisy: 3 arms x up to 8 seeds = 24 different trials, 24 done before, 0 to run")
    assert second.endswith("looks have ended: no arm gets more seeds")


def test_a_long_list_of_looks_is_shortened(
    planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned("decided", CLAIMS)
    file = tmp_path / "noisy.yaml"
    assert main(["plan", str(file), "--store", str(tmp_path / "new"), "--set", "seeds.most=200"]) == 0
    assert "looks after 4, 8, 12, ..., 200 seeds" in " ".join(capsys.readouterr().out.split())


def test_more_comparisons_are_expected_to_take_more_seeds() -> None:
    one, ten = (expected_number(Design((4, 8, 12, 16, 20, 24, 28, 32), n)) for n in (1, 10))
    assert 8 < one < ten < 32
    assert one < expected_number(Design((4, 8, 12, 16, 20, 24, 28, 32)), 5) < 32
    assert expected_number(Design((4,), 10)) == 4
