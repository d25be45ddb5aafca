"""References to other sweeps: the best trial, pins, the order of sweeps, and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeps import sizes
from sweeps.errors import SweepError
from sweeps.spec import dependencies, loader
from sweeps.spec.dependencies import PENDING
from sweeps.spec.loader import Sweep
from sweeps.store import attempts as stored_attempts
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from tests.plans import MINIMAL

FIRST = """\
# Which fill is good?
name: first
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 4}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 8}
  epochs: 2
seeds: [0, 1]
arms:
  - {name: wide, set: {model.width: 16}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
report: {metrics: [test/psnr_db]}
small: {set: {epochs: 1}}
tiny: {set: {data.train: 4, epochs: 1}}
"""
SECOND = """\
# Is what it fills found?
name: second
task: inpaint
base:
  data: {inpainters: [{name: telea}, {best: {sweep: first.yaml, metric: val/psnr_db}}]}
seeds: [0, 1]
small: {seeds: 1}
tiny: {set: {epochs: 1}}
"""
DATA = "{inpainters: [{name: telea}, {best: {sweep: first.yaml, metric: val/psnr_db}}]}"
VALUES = {("base", 0): 20.0, ("base", 1): 21.0, ("wide", 0): 23.0, ("wide", 1): 22.0, ("mean fill", 0): 30.0}
"""val/psnr_db after the last epoch; after the first epoch it is 10 dB higher."""

Write = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(name: str, text: str, *replaced: tuple[str, str]) -> Path:
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return run


def finish(store: Store, name: str, values: Mapping[tuple[str, int], float | None]) -> dict[tuple[str, int], str]:
    """Write a plan of a sweep and results with these last values (None: the trial failed). Returns the trial ids."""
    ids = {(arm, seed): f"{arm.replace(' ', '')}{seed}" for arm, seed in values}
    arms = []
    seeds = sorted({seed for _, seed in values})
    for arm in dict.fromkeys(arm for arm, _ in values):
        trials = {str(seed): {"id": ids.get((arm, seed), ids[arm, seeds[0]]), "epochs": 2} for seed in seeds}
        arms.append({"name": arm, "config": {}, "trains": "fill" not in arm, "trials": trials})
    body = {**MINIMAL, "name": name, "seeds": seeds, "arms": arms, "file": "x", "changes": [], "tiny": False}
    stored_plans.write_plan(store, name, body, FIRST, 0.0)
    for key, value in values.items():
        attempt = stored_attempts.claim(store, ids[key], 0, {"claimed_at": 0.0})
        if attempt is None:
            continue  # it has finished before
        if value is None:
            stored_attempts.end(store, attempt, "failed", 1.0, {"type": "Diverged", "message": "nan", "traceback": ""})
        else:
            stored_trials.finish(store, attempt, 2, {"history": {"epoch": [1, 2], "val/psnr_db": [value + 10, value]}})
    return ids


def pinned(file: Path, store: Store | None, **options: Any) -> Sweep:
    return dependencies.pin(loader.load(file), file.parent, store, **options)


def inpainter(sweep: Sweep) -> Any:
    return sweep.spec.base["data"]["inpainters"][1]


def keep(store: Store, sweep: Sweep) -> None:
    """Pin the references, as planning does."""
    stored_plans.write_plan(
        store, sweep.spec.name, {**MINIMAL, "name": sweep.spec.name, "pins": dict(sweep.pins)}, "", 0.0
    )


# --- resolving references ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "best"),
    [
        ("metric: val/psnr_db", "wide0"),  # the mean fill has 30 dB, but does not train
        ("metric: val/psnr_db, arm: base", "base1"),
        ("metric: val/psnr_db, arm: mean fill", "meanfill0"),
        ("metric: val/psnr_db, goal: min", "base0"),
    ],
)
def test_the_best_trial_of_a_sweep(write: Write, store: Store, asked: str, best: str) -> None:
    write("first.yaml", FIRST)
    finish(store, "first", VALUES)
    sweep = pinned(write("second.yaml", SECOND, ("metric: val/psnr_db", asked)), store)
    assert inpainter(sweep) == {"trial": best}
    assert list(sweep.pins.values()) == [best]
    assert sweep.document.text.count("best:") == 1, "the file is kept as it was"


def test_an_arms_trials_by_seed(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    finish(store, "first", VALUES)
    given = (DATA, "{trials_of: {sweep: first.yaml, arm: wide}}")
    file = write("second.yaml", SECOND, given)
    assert pinned(file, store).spec.base["data"] == {"0": "wide0", "1": "wide1"}
    file = write("second.yaml", SECOND, given, ("seeds: [0, 1]", "seeds: [0, 7]"))
    with pytest.raises(SweepError) as told:
        pinned(file, store)
    assert "no finished trial with seed 7" in str(told.value)
    assert "0, 1" in told.value.allowed


def test_a_reference_in_an_arm_or_a_grid(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    finish(store, "first", VALUES)
    best = "{best: {sweep: first.yaml, metric: val/psnr_db}}"
    text = f"arms: [{{name: other, set: {{data.x: {best}}}}}]\ngrid: {{data.y: {{a: {best}, b: 1}}}}\nseeds: [0, 1]"
    sweep = pinned(write("second.yaml", SECOND, ("seeds: [0, 1]", text)), store)
    assert sweep.spec.arms[0].set == {"data.x": {"trial": "wide0"}}
    assert sweep.spec.grid["data.y"]["a"] == {"trial": "wide0"}  # type: ignore[call-overload,index]
    assert len(sweep.pins) == 1, "asked three times, pinned once"


def test_a_failed_trial_is_not_waited_for(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    finish(store, "first", {**VALUES, ("wide", 0): None})
    assert inpainter(pinned(write("second.yaml", SECOND), store)) == {"trial": "wide1"}


# --- pins -------------------------------------------------------------------------------------------------------------


def test_a_pin_holds_until_it_is_renewed(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    file = write("second.yaml", SECOND)
    finish(store, "first", VALUES)
    keep(store, pinned(file, store))
    finish(store, "first", {**VALUES, ("new", 0): 40.0})
    assert inpainter(pinned(file, store)) == {"trial": "wide0"}
    assert inpainter(pinned(file, store, renew=True)) == {"trial": "new0"}
    assert dependencies.missing_dependencies(loader.load(file), file.parent, store) == []
    assert [
        one.name for one in dependencies.missing_dependencies(loader.load(file), file.parent, store, renew=True)
    ] == ["first"]


def test_pins_by_seed_grow_with_the_seeds(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    given = (DATA, "{trials_of: {sweep: first.yaml, arm: base}}")
    finish(store, "first", {("base", 0): 20.0})
    keep(store, pinned(write("second.yaml", SECOND, given, ("seeds: [0, 1]", "seeds: [0]")), store))
    finish(store, "first", {("base", 0): 20.0, ("base", 1): 20.0})
    assert pinned(write("second.yaml", SECOND, given), store).spec.base["data"] == {"0": "base0", "1": "base1"}


def test_what_has_not_run_is_pending_or_refused(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    file = write("second.yaml", SECOND)
    for where in (None, store):
        sweep = pinned(file, where, pending=True)
        assert inpainter(sweep)["trial"].startswith(PENDING)
        assert len(inpainter(sweep)["trial"]) == len(PENDING) + 8
        assert dependencies.is_pending(sweep)
    with pytest.raises(SweepError, match="it has not run"):
        pinned(file, store)


def test_the_order_of_a_chain(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    write("second.yaml", SECOND)
    third = write("third.yaml", SECOND, ("name: second", "name: third"), ("sweep: first.yaml", "sweep: second.yaml"))
    for where in (None, store):
        assert [one.name for one in dependencies.missing_dependencies(loader.load(third), third.parent, where)] == [
            "first",
            "second",
        ]
    for size in sizes.BLOCKS:
        sized = dependencies.missing_dependencies(loader.load(third, size), third.parent, store)
        assert [one.name for one in sized] == [f"first-{size}", f"second-{size}"]
        assert [one.sweep.size for one in sized] == [size, size]


def test_changes_reach_the_sweeps_that_a_sweep_depends_on(write: Write, store: Store) -> None:
    write("first.yaml", FIRST)
    write("second.yaml", SECOND)
    third = write("third.yaml", SECOND, ("name: second", "name: third"), ("sweep: first.yaml", "sweep: second.yaml"))
    for size, name in (("full", "first"), ("tiny", "first"), ("tiny", "first-tiny")):
        sweep = loader.load(third, size)
        sweep.changes_for = {name: ("model.width=4", "seeds=[0, 1, 2]")}
        first, second = dependencies.missing_dependencies(sweep, third.parent, store)
        assert first.sweep.changes == ("model.width=4", "seeds=[0, 1, 2]")
        assert (first.sweep.spec.base["model"]["width"], first.sweep.spec.seeds) == (4, [0, 1, 2])
        assert second.sweep.changes == ()
    sweep.changes_for = {"frist": ("epochs=1",)}
    with pytest.raises(SweepError) as caught:
        dependencies.missing_dependencies(sweep, third.parent, store)
    assert caught.value.fix == "did you mean `first`?"


def test_changes_for_a_finished_sweep_are_not_dropped(write: Write, store: Store) -> None:
    """It is listed although its trials are pinned, so that a run compares its stored plan with the changes."""
    write("first.yaml", FIRST)
    file = write("second.yaml", SECOND)
    finish(store, "first", VALUES)
    sweep = loader.load(file)
    keep(store, pinned(file, store))
    assert dependencies.missing_dependencies(sweep, file.parent, store) == []
    sweep.changes_for = {"first": ("epochs=1",)}
    (first,) = dependencies.missing_dependencies(sweep, file.parent, store)
    assert first.sweep.changes == ("epochs=1",)


@pytest.mark.parametrize("name", ["first", "first-tiny"])
def test_changes_reach_a_sweep_that_only_the_store_has(write: Write, store: Store, name: str) -> None:
    body = {**MINIMAL, "name": "first-tiny", "file": "x", "changes": ["epochs=3"], "tiny": True}
    stored_plans.write_plan(store, "first-tiny", body, FIRST, 0.0)
    file = write("second.yaml", SECOND, ("sweep: first.yaml", "sweep: first"))
    sweep = loader.load(file, "tiny")
    (first,) = dependencies.missing_dependencies(sweep, file.parent, store)
    assert first.sweep.changes == ("epochs=3",)
    sweep.changes_for = {name: ("epochs=1",)}
    (first,) = dependencies.missing_dependencies(sweep, file.parent, store)
    assert first.sweep.changes == ("epochs=1",)


def test_a_sweep_that_only_the_store_has_and_a_study_by_name(write: Write, store: Store) -> None:
    finish(store, "first", VALUES)
    file = write("second.yaml", SECOND, ("sweep: first.yaml", "sweep: first"))
    assert inpainter(pinned(file, store)) == {"trial": "wide0"}
    study = write("third.yaml", SECOND, ("sweep: first.yaml", "sweep: partial-conv"))
    assert [one.name for one in dependencies.missing_dependencies(loader.load(study), study.parent, None)] == [
        "partial-conv"
    ]
    study = write("third.yaml", SECOND, ("sweep: first.yaml", "sweep: partial-convolution"))
    with pytest.raises(SweepError, match="there is no such sweep"):
        pinned(study, store)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("metric: val/psnr_db", "metric: test/psnr_db"), "would bias"),
        (("metric: val/psnr_db", "metric: val/nonsense"), "no trial reports it"),
        (("metric: val/psnr_db", "metric: val/hole_fraction"), "no better direction"),
        ((", metric: val/psnr_db", ""), "`metric`"),
        (("metric: val/psnr_db", "metric: val/psnr_db, gaol: min"), "`gaol`"),
        (("metric: val/psnr_db", "metric: val/psnr_db, arm: narrow"), "there is no such name"),
        (("sweep: first.yaml", "sweep: nowhere.yaml"), "there is no such file"),
        (("sweep: first.yaml", "sweep: second.yaml"), "in a circle: second -> second"),
    ],
)
def test_mistakes_are_told(write: Write, store: Store, change: tuple[str, str], words: str) -> None:
    write("first.yaml", FIRST)
    finish(store, "first", VALUES)
    file = write("second.yaml", SECOND, change)

    def plan() -> None:
        dependencies.missing_dependencies(loader.load(file), file.parent, store)
        pinned(file, store)

    with pytest.raises(SweepError) as told:
        plan()
    assert words in str(told.value)
    assert all([told.value.given, told.value.why, told.value.allowed, told.value.fix])


def test_a_circle_of_two(write: Write, store: Store) -> None:
    write("first.yaml", SECOND, ("name: second", "name: first"), ("sweep: first.yaml", "sweep: second.yaml"))
    file = write("second.yaml", SECOND)
    with pytest.raises(SweepError, match="second -> first -> second"):
        dependencies.missing_dependencies(loader.load(file), file.parent, store)
