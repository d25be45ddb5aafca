"""The study `shortcuts` isolates: each arm changes one thing of its own set, and all are tested on one common set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from sweeps.cli.main import main
from sweeps.spec import dependencies, expand, loader
from sweeps.spec.plan import Plan
from sweeps.store.local import FolderStore
from trainables import schema
from trainables.forgery.config import of_trial

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "sweeps/detection/shortcuts.yaml"
CHANGED = {
    "rectangles": {"mask", "inpainters"},
    "hard seam": {"feather", "feather_side"},
    "raw output": {"composite", "feather", "feather_side"},
    "raw output, fake reals": {"composite", "feather", "feather_side", "fake_reals"},
    "fakes as PNG": {"fake_encoder"},
    "no pasted controls": {"pasted", "pasted_by", "controls"},
    "high-pass probe": set(),
    "high-pass probe, fakes as PNG": {"fake_encoder"},
    "majority": set(),
}
"""The keys of its own forged set that each arm changes."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    sweep = loader.load(FILE, "full")
    return expand.expand(dependencies.pin(sweep, FILE.parent, None, pending=True), schema)


def different(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    return {key for key in {**a, **b} if a.get(key) != b.get(key)}


def test_an_arm_changes_one_shortcut_of_its_own_set_and_nothing_of_the_common_one(plan: Plan) -> None:
    base = plan.arms[0].config
    common = base["test_sets"]["controlled"]["forged"]
    assert different(base["data"]["forged"], common) == set(), "the base is trained on sets like the common one"
    assert {arm.name for arm in plan.arms[1:]} == set(CHANGED)
    for arm in plan.arms[1:]:
        assert different(arm.config["data"]["forged"], base["data"]["forged"]) == CHANGED[arm.name], arm.name
        assert arm.config["test_sets"]["controlled"]["forged"] == common, arm.name
    by_kind = {
        arm.config["data"]["forged"]["mask"]["name"]: arm.config["data"]["forged"]["inpainters"] for arm in plan.arms
    }
    assert by_kind["rectangle"] != by_kind["random_regions"], "each kind of hole has a forger of its own"


def test_sets_are_drawn_anew_for_every_seed_and_are_the_same_for_all_arms_of_a_seed(plan: Plan) -> None:
    for arm in plan.arms:
        assert len({trial.id for trial in arm.trials.values()}) == 8, "also of arms without training"
        assert arm.by_seed == (not arm.trains)
    common = [of_trial(arm.config["test_sets"]["controlled"]["forged"], 3) for arm in plan.arms]
    assert all(one == common[0] for one in common)


@pytest.mark.slow  # trains two small inpainters and sixteen small detectors
def test_every_arm_has_columns_of_the_common_set(tmp_path: Path, data_root: Path) -> None:
    run = ["run", str(FILE), "--tiny", "--store", str(tmp_path), "--data", str(data_root), "--address", "in-process"]
    assert main([*run, "--set", "seeds=2", "--set", "data.forged.images.test=32"]) == 0
    study = studies.read(FolderStore(tmp_path), "shortcuts-tiny")
    for arm in study.names:
        for column in (
            "test/auc_on_controlled",
            "test/fpr_pasted_on_controlled",
            "test/fpr_authentic_tuned_on_controlled",
        ):
            assert len(study.values(arm, column)) == 2, f"{arm}: {column}"
        found = study.interval(arm, "test/auc_on_controlled")
        assert found is not None
        assert found.photographs == 32
