"""The cost of a plan as `sweeps plan` prints it, and early stopping checked on stored curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import cost_measurement, driver, early_stopping_check, pending_work
from sweeps.results.cost import Estimate, TimedTrial
from sweeps.spec.sections.search import SearchFileSpec
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.cluster.small import SMALL, Planned
from trainables import schema

CONFIG: dict[str, Any] = {"model": {"name": "net"}, "data": {"name": "cifar10"}, "mask": {"name": "lines"}, "epochs": 9}


def spec(name: str = "asha", grace: int = 1, **changed: Any) -> SearchFileSpec:
    given = {"space": {}, "trials": 9, "metric": "val/psnr_db", "goal": "max"}
    stopping = {"name": name, "grace_epochs": grace}
    return SearchFileSpec.model_validate({**given, "early_stopping": stopping, **changed})


def curve(number: int, values: Sequence[float], **changed: Any) -> TimedTrial:
    history = {"epoch": list(range(1, len(values) + 1)), "val/psnr_db": list(values)}
    return TimedTrial(f"trial-{number}", "inpaint", CONFIG | changed, {"history": history, "started_at": number})


STEADY = [curve(n, [20.0 + n / 10] * 9) for n in range(6)]
LATE = curve(9, [10.0] * 5 + [30.0] * 4)
"""Worse than all others until epoch 5, then the best."""


def told(known: Sequence[TimedTrial], rule: SearchFileSpec) -> list[str]:
    return early_stopping_check.warnings(rule, "inpaint", CONFIG, known, "base")


def test_a_winner_that_begins_slowly_is_named() -> None:
    (line,) = told([LATE, *STEADY], spec())
    assert "of 7 recorded trials of net, the best at epoch 9 (trial-9, val/psnr_db 30 dB) had 10 dB at epoch 1" in line
    assert "grace_epochs above 1" in line


@pytest.mark.parametrize(
    ("known", "rule"),
    [
        ([LATE, *STEADY], spec("none")),
        ([LATE, *STEADY], spec(grace=6)),
        (STEADY, spec()),
        ([LATE, *STEADY[:1]], spec()),
        ([LATE, *(curve(n, [20.0 + n / 10] * 9, mask={"name": "other"}) for n in range(6))], spec()),
        ([LATE, *(curve(n, [20.0 + n / 10] * 5) for n in range(6))], spec()),
        ([LATE, *STEADY], spec(metric="val/ssim")),
    ],
    ids=["no rule", "grace", "best first", "few", "other masks", "not complete", "other metric"],
)
def test_where_nothing_is_warned_of(known: list[TimedTrial], rule: SearchFileSpec) -> None:
    assert told(known, rule) == []


def test_lower_can_be_better() -> None:
    mirrored = [curve(n, [-v for v in r.result["history"]["val/psnr_db"]]) for n, r in enumerate([LATE, *STEADY])]
    (line,) = told(mirrored, spec(goal="min"))
    assert "trial-0" in line


def estimated(
    planned: Planned, store: FolderStore, data_root: Path, measured: bool = False, text: str = SMALL
) -> Estimate:
    work = pending_work.work_left(planned(text=text), store, schema)
    return cost_measurement.estimate(work, store, driver.IN_PROCESS, data_root, measured)


def test_what_is_left_is_counted_and_timed(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    first = estimated(planned, store, data_root)
    assert [(line.trials, line.epochs, line.trains) for line in first.lines] == [
        (1, 0, False),
        (1, 3, True),
        (1, 3, True),
    ]
    assert first.computing_s == 0
    assert len(first.unknown) == 2
    timed = estimated(planned, store, data_root, measured=True)
    assert not timed.unknown
    assert all(line.speed and line.speed.source == "measured now" for line in timed.lines)
    assert 0 < timed.computing_s < 60

    plan = planned()
    trial = plan.arms[0].trials[0]
    stored_plans.write_plan(store, plan.name, plan.to_json([]), "", 0.0)
    attempt = stored_attempts.claim(store, trial.id, 0, {})
    assert attempt is not None
    stored_attempts.beat(store, attempt, {"time": 0, "epoch": 2})
    assert estimated(planned, store, data_root).lines[1].epochs == 1, "it goes on after epoch 2"


SEARCHED = SMALL.replace(
    "seeds: 1",
    """seeds: 2
search:
  space: {optimiser.lr: {float: [1.0e-4, 1.0e-2], log: true}}
  trials: 5
  tune_seeds: [7, 8]
  metric: val/psnr_db
  goal: max
  early_stopping: {name: asha}
  report_best: 2""",
)


def test_suggestions_and_what_they_will_find_are_counted(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    found = estimated(planned, FolderStore(tmp_path / "store"), data_root, text=SEARCHED)
    lines = {line.labels: (line.trials, line.epochs, line.most) for line in found.lines}
    assert lines["base", "best of base"] == (2 + 2 * 2, (2 + 4) * 3, False)
    assert lines["suggestions of base",] == (5 * 2, 5 * 2 * 3, True)
    assert found.most


def test_recorded_curves_reach_the_warning(planned: Planned, tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    plan = planned("seeds=8")
    stored_plans.write_plan(store, plan.name, plan.to_json([]), "", 0.0)
    for seed, trial in plan.arms[0].trials.items():
        values = [10.0, 10.0, 40.0] if seed == 5 else [20.0, 21.0, 22.0 + seed]
        result = {"history": {"epoch": [1, 2, 3], "val/psnr_db": values}, "started_at": seed}
        store.put(layout.result_key(trial.id, 3), json.dumps(result).encode())
    found = estimated(planned, store, data_root, text=SEARCHED.replace("name: small", "name: later"))
    (line,) = found.warnings
    assert plan.arms[0].trials[5].id in line
