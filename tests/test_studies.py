"""Every study of the repository, found by listing: it parses, its tiny form runs on real images and is reported."""

from __future__ import annotations

import html
import json
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analysis.claims import published
from analysis.report import build as report
from analysis.report import formats
from sweeps import sizes
from sweeps.cli.main import main
from sweeps.results import columns as record_columns
from sweeps.spec import dependencies, expand, loader
from sweeps.spec.plan import Plan
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from trainables import schema

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").glob("*/*.yaml"))
THROUGH_RAY = "sweeps/inpainting/partial_conv.yaml"
DRAWN = (
    *("sweeps/inpainting/partial_conv.yaml", "sweeps/inpainting/context_encoder_l1.yaml"),
    *(
        "sweeps/detection/cross_inpainter.yaml",
        "sweeps/detection/classifier_search.yaml",
        "sweeps/text/text_judge.yaml",
    ),
)
"""Studies whose whole page is drawn in every run of the tests."""
SLOW = tuple(
    f"sweeps/{name}.yaml"
    for name in (
        *("detection/classifier_backbones", "detection/classifier_ensemble"),
        *("detection/data_size", "detection/detector_alpha_beta", "detection/shortcuts"),
        *("detection/detector_heads", "detection/detector_losses"),
        *("inpainting/context_encoder_alexnet", "inpainting/context_encoder_alexnet_discriminator"),
        *("inpainting/context_encoder_channelwise", "inpainting/context_encoder_depth"),
        *("inpainting/context_encoder_l2_weight", "inpainting/context_encoder_optimiser"),
        *("inpainting/context_encoder_random_regions", "inpainting/context_encoder_scheduler"),
        *("inpainting/diversity", "inpainting/gated_conv_ablation", "inpainting/glcic_ablation"),
        "inpainting/inpainter_families",
        *("inpainting/glcic_parts", "inpainting/glcic_weights", "inpainting/partial_conv_holes"),
        *("inpainting/partial_conv_losses", "inpainting/partial_conv_perceptual"),
        *("inpainting/precision_bf16", "inpainting/text_guidance"),
    )
)
"""Studies whose tiny forms run in `make test-all` only: others in every run use the same models, losses and masks."""
SMALL_FORMS = [study for study in STUDIES if "\nsmall:\n" in (ROOT / study).read_text(encoding="utf-8")]
TINY_FORMS = [pytest.param(study, marks=[pytest.mark.slow] if study in SLOW else []) for study in STUDIES]


@cache
def planned(study: str, size: str = sizes.FULL) -> Plan:
    file = ROOT / study
    sweep = loader.load(file, size)
    return expand.expand(dependencies.pin(sweep, file.parent, None, pending=True), schema)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all studies: those that share trials train them once, as a user's would."""
    return tmp_path_factory.mktemp("studies") / "store"


@pytest.fixture(scope="module")
def ran(store: Path, data_root: Path) -> Any:
    """Run a study's tiny form once in this process; its exit code the first time it was asked for."""
    codes: dict[str, int] = {}

    def run(study: str) -> int:
        if study not in codes:
            started = time.perf_counter()
            codes[study] = main(["run", str(ROOT / study), "--tiny", "--store", str(store), "--data", str(data_root)])
            print(f"{study} --tiny: {time.perf_counter() - started:.1f} s")
        return codes[study]

    return run


def numbers(store: Path, study: str) -> dict[str, dict[str, list[float]]]:
    """The history of every trial of a study's tiny form, without what depends on the machine, by its result's key."""
    contents = FolderStore(store)
    newest = stored_plans.read_plans(contents, planned(study, sizes.TINY).name)[-1]
    keys = {layout.result_key(t["id"], t["epochs"]) for arm in newest["arms"] for t in arm["trials"].values()}
    results = {key: json.loads(data) for key, data in contents.get_many(keys).items()}
    assert results.keys() == keys, "every trial has its result"
    return {key: record_columns.same_numbers(result["history"]) for key, result in results.items()}


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES)
def test_it_parses_and_expands(study: str) -> None:
    full, tiny = planned(study), planned(study, sizes.TINY)
    assert full.arms
    assert tiny.name == f"{full.name}-tiny"
    assert [arm.name for arm in tiny.arms] == [arm.name for arm in full.arms], "the tiny form has every arm"
    if full.sweep.spec.task != "stack":  # known by the trials it puts together, which are pending here
        assert {trial.id for trial, _ in tiny.runs()}.isdisjoint(trial.id for trial, _ in full.runs())


@pytest.mark.parametrize("study", STUDIES)
def test_its_stored_plan_is_read_without_complaint(study: str, tmp_path: Path) -> None:
    plan, store = planned(study), FolderStore(tmp_path)
    stored = stored_plans.write_plan(store, plan.name, plan.to_json([]), plan.sweep.document.text, 0.0)
    assert stored_plans.read_plans(store, plan.name) == [stored]


@pytest.mark.parametrize("study", SMALL_FORMS)
def test_its_small_form_asks_the_same_for_less(study: str) -> None:
    """The sweeps that it depends on have a small form too, otherwise it cannot be planned."""
    full, small = planned(study), planned(study, sizes.SMALL)
    assert small.name == f"{full.name}-small"
    assert [(arm.name, arm.published) for arm in small.arms] == [(arm.name, arm.published) for arm in full.arms]
    assert [claim.text for claim in small.sweep.spec.claims] == [claim.text for claim in full.sweep.spec.claims]
    assert [arm.trains for arm in small.arms] == [arm.trains for arm in full.arms]
    for one, other in zip(small.arms, full.arms, strict=True):
        assert one.config.get("epochs", 0) <= other.config.get("epochs", 0)
        assert len(one.trials) <= len(other.trials)


@pytest.mark.parametrize("study", SMALL_FORMS)
def test_its_small_form_reaches_every_network(study: str) -> None:
    """An arm that replaces the section `model` loses the width of the small form: it has to name its own there."""
    full, small = planned(study), planned(study, sizes.SMALL)
    if "model.width" not in full.sweep.spec.small.get("set", {}):
        return
    for one, other in zip(small.arms, full.arms, strict=True):
        if one.trains and "width" in one.config["model"]:
            assert one.config["model"]["width"] < other.config["model"]["width"], one.name


@pytest.mark.parametrize("study", STUDIES)
def test_the_header_tells_how_the_small_form_was_accepted_or_why_there_is_none(study: str) -> None:
    """`# Small: ...`: what was measured, and what all seeds would take; or the reason in `no_small`."""
    header = (ROOT / study).read_text(encoding="utf-8").split("\nname:")[0]
    told = re.findall(r"^# Small: (\S.*(?:\n#   .*)*)", header, flags=re.MULTILINE)
    assert len(told) == 1
    reason = planned(study).sweep.spec.no_small
    assert (reason is None) == (study in SMALL_FORMS), "`small:` or `no_small:`"
    if reason is not None:
        assert " ".join(told[0].replace("\n#", " ").split()) == f"none, since {reason}."


@pytest.mark.parametrize("study", STUDIES)
def test_no_arm_changes_the_common_test_sets(study: str) -> None:
    """A test set that an arm does not name itself is the same for all arms, whatever they change of their own set."""
    for size in (sizes.FULL, *sizes.BLOCKS):
        if size == sizes.SMALL and study not in SMALL_FORMS:
            continue
        plan = planned(study, size)
        own = {arm.name for arm in plan.sweep.spec.arms if any(key.startswith("test_sets") for key in arm.set)}
        sets = [arm.config.get("test_sets") for arm in plan.arms if arm.name not in own]
        assert all(one == sets[0] for one in sets), size


def test_no_two_studies_have_one_name() -> None:
    names = [planned(study).name for study in STUDIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("study", STUDIES)
def test_it_has_a_baseline_without_training(study: str) -> None:
    full = planned(study)
    if full.sweep.spec.task == "inpaint":
        fills = [arm for arm in full.arms if not arm.trains]
        filled = [mask for arm in fills for mask in (arm.config["mask"], *(arm.config["test_masks"] or {}).values())]
        assert all(arm.config["mask"] in filled for arm in full.arms), "a fill for every kind of mask"
    if full.sweep.spec.task == "detect":
        names = {arm.config["model"]["name"] for arm in full.arms}
        assert names & {"constant_box", "majority"}, "what a detector has to beat"


@pytest.mark.parametrize("study", STUDIES)
def test_the_published_figures_that_it_names_exist(study: str) -> None:
    full = planned(study)
    reference = full.sweep.spec.report.published
    variants = {arm.published for arm in full.arms if arm.published}
    if reference is None:
        assert not variants, "variants are named, but no study and table that they are of"
        return
    rows = [
        row for row in published.read_figures() if (row["study"], row["table"]) == (reference.study, reference.table)
    ]
    assert rows, f"no table {reference.table} of {reference.study} in analysis/claims/published/seeds.csv"
    assert variants, "a table is named, but no arm's row in it"
    assert {variant for variant in variants if ": " not in variant} <= {row["variant"] for row in rows}
    assert set(reference.columns.values()) <= {row["metric"] for row in rows}
    for variant in variants:
        columns = full.sweep.spec.report.metrics
        found = [column for column in columns if published.lookup(reference.model_dump(), variant, column)]
        assert found, f"{variant} has no figure in any column of the report"


def settings(value: Any, key: str = "") -> set[str]:
    """Every key of a resolved configuration that has a value, and every choice, as `name: lines`."""
    if isinstance(value, dict):
        return set().union(*(settings(one, name) for name, one in value.items()))
    if isinstance(value, list):
        return set().union(*(settings(one, key) for one in value))
    choice = isinstance(value, str) and value.isidentifier()
    return set() if value is None else {f"{key}: {value}" if choice else key}


def test_a_study_that_is_slow_has_nothing_that_no_quick_test_trains() -> None:
    """Golden sweeps count as quick studies do, except the one that scores given images and trains nothing."""
    golden = (file.relative_to(ROOT).as_posix() for file in (ROOT / "tests/golden/sweeps").glob("*.yaml"))
    plans = [planned(study, sizes.TINY) for study in STUDIES if study not in SLOW]
    plans += [planned(file) for file in golden if not file.endswith("/outputs.yaml")]
    trained = set().union(*(settings(arm.config) for plan in plans for arm in plan.arms))
    assert set(SLOW) <= set(STUDIES)
    for study in SLOW:
        used = set().union(*(settings(arm.config) for arm in planned(study, sizes.TINY).arms))
        assert used - trained == set(), f"{study}: take it out of SLOW"


# --- their tiny forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", TINY_FORMS)
def test_its_tiny_form_runs_and_then_has_nothing_to_run(
    study: str, ran: Any, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(study) == 0
    before = numbers(store, study)
    capsys.readouterr()
    again = main(["run", str(ROOT / study), "--tiny", "--store", str(store), "--data", str(store / "no data needed")])
    assert again == 0
    assert "nothing to run" in capsys.readouterr().out
    assert numbers(store, study) == before


@pytest.mark.parametrize("study", TINY_FORMS)
def test_every_column_of_its_records_is_described(study: str, ran: Any, store: Path) -> None:
    ran(study)
    columns = {column for history in numbers(store, study).values() for column in history} - {record_columns.EPOCH}
    assert [column for column in columns if not record_columns.describe(column)[2]] == []


@pytest.mark.parametrize("study", TINY_FORMS)
def test_the_report_of_its_tiny_form_names_every_arm(study: str, ran: Any, store: Path) -> None:
    ran(study)
    tiny = planned(study, sizes.TINY)
    text = formats.markdown(report.build(FolderStore(store), tiny.name))
    text = html.unescape(re.sub(r"\\(.)", r"\1", text))  # without the escapes of Markdown
    assert [arm.name for arm in tiny.arms if arm.name not in text] == []
    assert [claim.text for claim in tiny.sweep.spec.claims if claim.text not in text] == []


@pytest.mark.parametrize(
    "study", [pytest.param(study, marks=[] if study in DRAWN else pytest.mark.slow) for study in STUDIES]
)
def test_the_page_of_its_tiny_form_is_drawn(study: str, ran: Any, store: Path, tmp_path: Path) -> None:
    """With all pictures, which take a second for each page."""
    ran(study)
    tiny = planned(study, sizes.TINY)
    assert main(["report", tiny.name, "--store", str(store), "--out", str(tmp_path)]) == 0
    page = html.unescape((tmp_path / f"{tiny.name}.html").read_text(encoding="utf-8"))
    assert [arm.name for arm in tiny.arms if arm.name not in page] == []
    assert [claim.text for claim in tiny.sweep.spec.claims if claim.text not in page] == []


@pytest.mark.slow  # tests/golden and tests/cluster/runners/test_runs.py do the same with other sweeps
def test_a_tiny_form_through_ray_gives_the_same_numbers(
    ran: Any, store: Path, tmp_path: Path, data_root: Path, ray_address: str
) -> None:
    ran(THROUGH_RAY)
    started = time.perf_counter()
    there = ["--store", str(tmp_path), "--data", str(data_root), "--address", ray_address, "--set", "seeds=1"]
    assert main(["run", str(ROOT / THROUGH_RAY), "--tiny", *there]) == 0
    print(f"{THROUGH_RAY} --tiny through Ray: {time.perf_counter() - started:.1f} s")
    found, expected = numbers(tmp_path, THROUGH_RAY), numbers(store, THROUGH_RAY)
    assert len(found) == len(planned(THROUGH_RAY, sizes.TINY).arms)
    assert found == {key: expected[key] for key in found}
