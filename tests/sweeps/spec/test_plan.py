"""Expanding a file to trials: arms, shared trials, origins of values, and errors before anything runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sweeps import sizes
from sweeps.errors import SweepError
from sweeps.spec import loader, yaml_document
from sweeps.spec.loader import DIVIDED
from sweeps.spec.plan import Plan
from sweeps.spec.schema import TASKS
from sweeps.spec.sections.seeds import SeedsUntil

Expand = Callable[..., Plan]


def test_arms_times_seeds(expand: Expand) -> None:
    plan = expand()
    assert [arm.name for arm in plan.arms] == ["base", "wide", "mean fill"]
    assert all(list(arm.trials) == [0, 1] for arm in plan.arms)
    assert len(plan.runs()) == 5, "the fill without parameters is one trial for all seeds"
    assert {arm.baseline for arm in plan.arms} == {"base"}


def test_seeds_until_decided_begin_with_the_first_look(expand: Expand) -> None:
    plan, fixed = expand(("seeds: 2", "seeds: {first: 4, step: 5, most: 16}")), expand(("seeds: 2", "seeds: 4"))
    assert plan.runs() == fixed.runs()
    assert plan.looks is not None
    assert plan.looks.looks == (4, 9, 14, 16)
    assert plan.to_json([])["looks"] == {"first": 4, "step": 5, "most": 16, "until": "decided"}
    assert "looks" not in fixed.to_json([])
    assert expand(("seeds: 2", "seeds: {first: 4, step: 5, most: 16}"), changes=("seeds.most=4",)).looks.looks == (4,)


def test_seeds_until_decided_need_a_claim_to_decide(expand: Expand) -> None:
    claim = "  - {text: wider is better, metric: test/psnr_db, better: wide, than: base}"
    with pytest.raises(SweepError, match="no claim that could be decided"):
        expand(("seeds: 2", "seeds: {first: 4, step: 4, most: 8}"), (claim, "  - {text: it fails, fails: wide}"))
    for until in ("{half_width: 0.1, metric: test/psnr_db}", "{budget: 8h}"):
        seeds = f"seeds: {{first: 4, step: 4, most: 8, until: {until}}}"
        plan = expand(("seeds: 2", seeds), ("claims:", ""), (claim, ""))
        assert SeedsUntil.model_validate(plan.to_json([])["looks"]) == plan.looks


def test_identity_is_content(expand: Expand) -> None:
    plan = expand()
    same = expand(("name: small", "name: other"), ("seeds: 2", "seeds: [1, 5]"))
    assert plan.arms[1].trials[1].id == same.arms[1].trials[1].id
    longer = expand(("epochs: 4", "epochs: 9"))
    assert plan.arms[0].trials[0].id == longer.arms[0].trials[0].id, "more epochs go on from the checkpoint"
    resources = expand(("seeds: 2", "seeds: 2\nresources: {cpus: 2}"))
    assert plan.arms[0].trials[0].id == resources.arms[0].trials[0].id
    for change in ("optimiser.lr=0.002", "batch=32", "data.train=128", "mask.count=[1, 3]", "loss={l1: 1.0}"):
        assert expand(changes=(change,)).arms[0].trials[0].id != plan.arms[0].trials[0].id, change


def test_defaults_do_not_change_identity_when_written_out(expand: Expand) -> None:
    plan, written = expand(), expand(changes=("optimiser.betas=[0.9, 0.999]", "model.see_mask=false", "loss.l2=1"))
    assert plan.arms[0].trials[0].id == written.arms[0].trials[0].id


def test_arms_that_differ_in_epochs_alone_share_a_trial(expand: Expand) -> None:
    plan = expand(("  - {name: wide, set: {model.width: 16}}", "  - {name: wide, set: {epochs: 2}}"))
    assert plan.arms[0].trials[0].id == plan.arms[1].trials[0].id
    assert [(trial.seed, trial.epochs) for trial, _ in plan.runs()] == [(0, 0), (0, 2), (0, 4), (1, 2), (1, 4)]


def test_a_seed_of_every_arm_runs_before_the_next_seed(expand: Expand) -> None:
    """After any number of trials, no arm is more than one seed ahead of another one."""
    labels = [label for _, label in expand(("seeds: 2", "seeds: [7, 3]")).runs()]
    assert labels == ["mean fill", "base · seed 7", "wide · seed 7", "base · seed 3", "wide · seed 3"]


def test_a_grid_is_full_factorial_with_a_baseline_a_cell(expand: Expand) -> None:
    plan = expand(
        (
            "seeds: 2",
            "seeds: 1\ngrid: {mask: {few: {name: lines, count: [1, 2]}, hole: {name: centre}}, batch: [32, 64]}",
        ),
        ("better: wide, than: base", 'better: "wide, few, batch=32", than: "base, hole, batch=64"'),
    )
    assert len(plan.arms) == 3 * 2 * 2
    arm = next(arm for arm in plan.arms if arm.name == "wide, hole, batch=32")
    assert arm.factors == {"mask": "hole", "batch": "batch=32"}
    assert arm.baseline == "base, hole, batch=32"
    assert (arm.config["mask"]["name"], arm.config["batch"], arm.config["model"]["width"]) == ("centre", 32, 16)


GRID = "seeds: 2\ngrid: {optimiser.lr: [1.0e-3, 3.0e-4], model.width: {narrow: 8, wide: 16}}"
PURE = (
    ("arms:", ""),
    ("  - {name: wide, set: {model.width: 16}}", ""),
    ("  - {name: mean fill, set: {model: {name: mean_fill}}}", ""),
    ("better: wide, than: base", 'better: "lr=0.001, wide", than: "lr=0.001, narrow"'),
)


def test_a_grid_without_arms_is_compared_with_its_first_cell(expand: Expand) -> None:
    plan = expand(*PURE, ("seeds: 2", GRID))
    names = ["lr=0.001, narrow", "lr=0.001, wide", "lr=0.0003, narrow", "lr=0.0003, wide"]
    assert [arm.name for arm in plan.arms] == names, "short names, without that of the base"
    assert {arm.baseline for arm in plan.arms} == {"lr=0.001, narrow"}
    assert plan.to_json([])["baseline"] == "lr=0.001, narrow"
    crossed = expand(
        ("seeds: 2", GRID),
        PURE[-1],
        ('"lr=0.001, wide"', '"wide, lr=0.001, wide"'),
        ('"lr=0.001, narrow"', '"base, lr=0.001, narrow"'),
    )
    ids = {arm.name.removeprefix("base, "): arm.trials for arm in crossed.arms}
    assert all(ids[arm.name] == arm.trials for arm in plan.arms), "names are no part of what is trained"


@pytest.mark.parametrize(
    ("given", "baselines"),
    [
        ("{optimiser.lr: 3.0e-4, model.width: 16}", {"lr=0.0003, wide"}),
        ("{optimiser.lr: 0.0003, model.width: wide}", {"lr=0.0003, wide"}),
        ("{model.width: wide}", {"lr=0.001, wide", "lr=0.0003, wide"}),
        ('"lr=0.001, wide"', {"lr=0.001, wide"}),
        ("base", {"lr=0.001, narrow"}),
    ],
)
def test_a_grid_without_arms_has_the_baseline_of_its_file(expand: Expand, given: str, baselines: set[str]) -> None:
    plan = expand(*PURE, ("seeds: 2", f"{GRID}\nbaseline: {given}"))
    assert {arm.baseline for arm in plan.arms} == baselines
    for arm in plan.arms:
        own = arm.name.split(", ")[0]
        assert len(baselines) == 1 or arm.baseline.startswith(own), "a factor that is not named keeps its level"


def test_cells_with_other_masks_are_compared_under_the_same_mask(expand: Expand) -> None:
    masks = "mask: [{name: lines, count: [1, 2]}, {name: lines, count: [1, 5]}]"
    plan = expand(
        *PURE[:-1],
        ("seeds: 2", f"seeds: 2\ngrid: {{batch: [32, 64], {masks}}}"),
        ("better: wide, than: base", 'better: "batch=64, mask count=[1, 2]", than: "batch=32, mask count=[1, 2]"'),
    )
    assert {arm.name: arm.baseline for arm in plan.arms} == {
        f"batch={batch}, mask count=[1, {count}]": f"batch=32, mask count=[1, {count}]"
        for batch in (32, 64)
        for count in (2, 5)
    }


def test_levels_that_are_mappings_are_named_by_what_differs(expand: Expand) -> None:
    fills = "{name: mean_fill}, {name: telea}"
    plan = expand(
        *PURE[:-1],
        ("seeds: 2", f"seeds: 2\ngrid: {{model: [{fills}]}}"),
        ("better: wide, than: base", "better: model=telea, than: model=mean_fill"),
    )
    assert [arm.name for arm in plan.arms] == ["model=mean_fill", "model=telea"]


@pytest.mark.parametrize(
    ("baseline", "given", "why", "allowed", "fix"),
    [
        (
            "{optimiser.lr: 5.0e-4}",
            "small.yaml",
            "no level 0.0005 of optimiser.lr",
            "0.001, 0.0003",
            "{optimiser.lr: 0.001}",
        ),
        ("{model.width: thin}", "small.yaml", "no level thin of model.width", "narrow, wide", "{model.width: narrow}"),
        ("{batch: 64}", "baseline 'batch'", "no such name", "optimiser.lr, model.width", "use one of those"),
        ("lr=0.001", "baseline 'lr=0.001'", "no such name", "lr=0.001, narrow", "did you mean"),
        ("{}", "`baseline`", "at least 1", "levels of a cell", "change `baseline`"),
        ("3", "`baseline` = 3", "valid", "levels of a cell", "change `baseline`"),
        ("{Batch: 64}", "`baseline", "pattern", "docs/sweep-files.md", "change `"),
    ],
)
def test_a_baseline_that_no_cell_has(
    expand: Expand, baseline: str, given: str, why: str, allowed: str, fix: str
) -> None:
    with pytest.raises(SweepError) as caught:
        expand(*PURE, ("seeds: 2", f"{GRID}\nbaseline: {baseline}"))
    error = caught.value
    assert (given in error.given, why in error.why, allowed in error.allowed, fix in error.fix) == (True,) * 4, error


def test_levels_are_the_baseline_of_a_grid_without_arms_only(expand: Expand) -> None:
    for block, why in ((GRID, "has arms"), ("seeds: 2", "no grid")):
        with pytest.raises(SweepError, match=why) as caught:
            expand(("seeds: 2", f"{block}\nbaseline: {{model.width: 8}}"))
        assert caught.value.fix == "baseline: base"


def test_origins_say_where_each_value_comes_from(expand: Expand) -> None:
    origins = expand(changes=("data.train=128",)).arms[1].origins
    assert origins["model.width"] == "small.yaml:13"
    assert origins["model.see_mask"] == "default"
    assert origins["optimiser.lr"] == "small.yaml:8"
    assert origins["data.train"] == "--set data.train=128"


@pytest.mark.parametrize("size", sizes.BLOCKS)
def test_a_smaller_size_shrinks_epochs_of_tests_and_claims(expand: Expand, size: str) -> None:
    plan = expand(
        ("metrics: [test/psnr_db]", f"test_epochs: [1, 2, 3]\n{size}: {{set: {{epochs: 2}}, seeds: 1}}"),
        ("than: base}", "than: base, epoch: 3}"),
        size=size,
    )
    assert plan.name == f"small-{size}"
    assert sizes.size_of(plan.to_json([])) == size
    assert plan.arms[0].origins["epochs"].startswith(f"{size} (small.yaml:")
    assert plan.sweep.spec.seed_list == [0]
    assert plan.sweep.spec.report.test_epochs == [1, 2]
    assert plan.sweep.spec.claims[0].epoch == 2


def test_a_file_without_a_small_form_says_why(expand: Expand) -> None:
    reason = ("seeds: 2", "seeds: 2\nno_small: it needs weights")
    assert expand(reason).sweep.spec.no_small == "it needs weights"
    with pytest.raises(SweepError) as caught:
        expand(reason, size=sizes.SMALL)
    assert caught.value.why == "it has no small form, since it needs weights"
    assert caught.value.fix == "--size full"
    for wrong in ("3", "[a]", "' '"):
        with pytest.raises(SweepError, match="no_small"):
            expand(("seeds: 2", f"seeds: 2\nno_small: {wrong}"))
        with pytest.raises(SweepError, match="the file has no `small:` block"):
            expand(("seeds: 2", f"seeds: 2\nno_small: {wrong}"), size=sizes.SMALL)
    with pytest.raises(SweepError, match="has a block `small`") as caught:
        expand(("seeds: 2", "seeds: 2\nno_small: it needs weights\nsmall: {seeds: 1}"))
    assert caught.value.given == "small.yaml:12: `no_small`"


def test_epochs_that_are_no_numbers_are_refused_after_scaling(expand: Expand) -> None:
    for epochs in ("[2, [1, 2]]", "[2, x]", "[true]"):
        with pytest.raises(SweepError, match="test_epochs"):
            expand(("metrics: [test/psnr_db]", f"test_epochs: {epochs}"), changes=("epochs=2",))


def test_twins_are_noted(expand: Expand) -> None:
    notes = expand(("set: {model.width: 16}", "set: {model.width: 8}")).notes
    assert any("'base' and 'wide' have the same configuration" in note for note in notes)


@pytest.mark.parametrize(
    ("old", "new", "given", "why", "fix"),
    [
        ("seeds: 2", "sedes: 2", "small.yaml:11: `sedes`", "no such name", "did you mean `seeds`?"),
        ("name: small", "name: ../x", "small.yaml:2: `name` = '../x'", "pattern", ""),
        ("task: inpaint", "task: inpant", "small.yaml", "no such name", "inpaint"),
        ("width: 8", "widht: 8", "small.yaml:7: model 'widht'", "no such name", "'width'"),
        ("width: 8", "width: eight", "small.yaml:7: model.width: 'eight'", "integer", ""),
        ("width: 8", "width: 0", "small.yaml:7: model.width: 0", "greater than", ""),
        ("name: vanilla_autoencoder", "name: mean_fill", "small.yaml:7: model 'width'", "no such", "remove 'width'"),
        (
            "{model.width: 16}",
            "{model.name: mean_fill}",
            "small.yaml:7: model 'width'",
            "changes `model.name` to 'mean_fill' and keeps `width` of the base",
            "set `model: {name: mean_fill}`, which replaces the whole section",
        ),
        (
            "name: vanilla_autoencoder",
            "name: vanila_autoencoder",
            "small.yaml",
            "no such name",
            "sweeps new method",
        ),
        ("mask: {name: lines}", "mask: {name: centre, fraction: 1.5}", "mask.fraction: 1.5", "less than 1", ""),
        ("mask: {name: lines}", "mask: {name: lines, count: [3, 1]}", "mask.count", "first number is above", ""),
        ("lr: 1.0e-3", "lr: -1", "optimiser.lr: -1", "greater than 0", ""),
        ("batch: 64", "batch: 64\n  loss: {l2: -1.0}", "loss.l2: -1.0", "greater than or equal to 0", ""),
        ("batch: 64", "batch: 64\n  loss: {l2: 0}", "loss with no weight", "nothing to learn", ""),
        ("batch: 64", "batch: 64\n  loss: {l3: 1}", "loss 'l3'", "no such name", ""),
        ("batch: 64", "batch: yes", "batch: 'yes'", "integer", ""),
        ("name: mean fill", "name: wide", "small.yaml:14", "two arms are called 'wide'", "rename"),
        ("name: wide", 'name: "mean fill "', "small.yaml:13", "ends with a blank", ""),
        ("name: wide", 'name: " "', "small.yaml:13", "blank", ""),
        ("name: wide", 'name: "w\\u200bide"', "small.yaml:13", "invisible character", ""),
        ("name: wide", 'name: "\\e[31mwide"', "small.yaml:13", "control", ""),
        ("name: wide", 'name: "mean\\u00a0fill"', "small.yaml:14", "looks like", "rename"),
        ("seeds: 2", 'seeds: 2\ngrid: {model.name: ["a\\nb"]}', "grid.model.name", "control", "{LABEL: VALUE"),
        ("set: {model.width: 16}", "set: {modle.width: 16}", "small.yaml:13", "no section `modle`", ""),
        ("set: {model.width: 16}", "set: {model.depth: 16}", "small.yaml:13: model 'depth'", "no such name", ""),
        ("set: {model.width: 16}", "set: {Model: 16}", "small.yaml:13", "pattern", ""),
        ("seeds: 2", "seeds: [1, 1]", "small.yaml:11", "repeats a seed", ""),
        ("seeds: 2", "seeds: 0", "small.yaml:11", "greater than", ""),
        ("seeds: 2", "seeds: 2\nbaseline: bass", "small.yaml:12: baseline 'bass'", "no such name", "base"),
        ("than: base", "than: bass", "arm 'bass' of a claim", "no such name", "base"),
        ("metrics: [test/psnr_db]", "metrics: [test/psnr]", "report.metrics[0]", "no trial reports", ""),
        ("metrics: [test/psnr_db]", "extra: [xy]", "report.extra[0]", "there is no such score", "kid_squeezenet"),
        ("metrics: [test/psnr_db]", "extra: [lpips]", "report.extra[0]", "no such score", "did you mean `lpips_vgg`?"),
        ("metrics: [test/psnr_db]", "extra: [sharpnes]", "report.extra[0]", "no such score", "`sharpness`"),
        ("metrics: [test/psnr_db]", "at: best(test/l2)", "report.at", "does not select an epoch", ""),
        (", better: wide, than: base", ", better: wide", "claims[0]", "do not form a claim", ""),
        (", better: wide, than: base", ", improves: wide, after: 3", "claims[0].after", "no test at epoch 3", ""),
        ("seeds: 2", "seeds: 2\ngrid: {batch: []}", "grid.batch", "no level", ""),
        ("seeds: 2", "seeds: {first: 4, most: 8}", "small.yaml:11: `seeds.step`", "missing", "add `step:`"),
        ("seeds: 2", "seeds: {first: 4, step: 4, most: 3}", "`seeds`", "`first` (4) is above `most` (3)", "seeds"),
        ("seeds: 2", "seeds: {first: 1, step: 4, most: 8}", "`seeds.first` = 1", "greater than or equal to 2", "first"),
        ("seeds: 2", "seeds: {first: 4, step: 4, most: 8, until: bored}", "`seeds.until`", "'decided'", "until"),
        (
            "seeds: 2",
            "seeds: {first: 4, step: 4, most: 8, until: {half_width: 0, metric: test/psnr_db}}",
            "`seeds.until.half_width` = 0",
            "greater than 0",
            "half_width",
        ),
        (
            "seeds: 2",
            "seeds: {first: 4, step: 4, most: 8, until: {half_width: 0.1}}",
            "`seeds.until.metric`",
            "missing",
            "add `metric:`",
        ),
        (
            "seeds: 2",
            "seeds: {first: 4, step: 4, most: 8, until: {half_width: 0.1, metric: test/psnr}}",
            "`seeds.until.metric`",
            "no trial reports 'test/psnr'",
            "sweeps list metrics",
        ),
        (
            "seeds: 2",
            "seeds: {first: 4, step: 4, most: 8, until: {budget: soon}}",
            "`seeds.until.budget` = 'soon'",
            "not a time above 0",
            "budget",
        ),
        (
            "seeds: 2",
            "seeds: {first: 4, step: 4, most: 8, until: {budget: 8h, metrics: test/l2}}",
            "`seeds.until.metrics`",
            "",
            "use one of those",
        ),
        ("seeds: 2", "seeds: {first: 4, step: 4, max: 8}", "small.yaml:11: `seeds.max`", "no such name", "those"),
        (
            "seeds: 2",
            "seeds: {first: 2, step: 2, most: 8}\n"
            "search: {space: {batch: {choice: [8]}}, trials: 1, metric: val/l1, goal: min}",
            "small.yaml:11: `seeds`",
            "arms that a search chooses",
            "seeds: 2",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(expand: Expand, old: str, new: str, given: str, why: str, fix: str) -> None:
    with pytest.raises(SweepError) as caught:
        expand((old, new))
    error = caught.value
    assert given in error.given
    assert why in error.why
    assert fix in error.fix
    assert error.allowed
    assert error.fix


@pytest.mark.parametrize("workers", ["2", "{min: 1, max: 4}"])
@pytest.mark.parametrize("task", [*TASKS, "./task.py", "installed_task"])
def test_several_workers_are_refused_for_a_task_that_trains_in_one_process(task: str, workers: str) -> None:
    text = f"name: s\ntask: {task}\nbase: {{epochs: 1}}\nresources: {{workers: {workers}}}\n"
    document = yaml_document.parse(text, "s.yaml")
    if task in DIVIDED:
        assert loader.Sweep(document).spec.resources.grouped
        return
    with pytest.raises(SweepError, match=f"a trial of task {task} is one process") as caught:
        loader.Sweep(document)
    assert caught.value.given == "s.yaml:4: `resources.workers`"
    assert ("gpus" in caught.value.fix) == (task not in ("match", "stack"))


@pytest.mark.parametrize("change", ["epochs", "=3", "epochs.x.y=3", "model.width=wide", "nothing=1"])
def test_mistakes_in_set(expand: Expand, change: str) -> None:
    with pytest.raises(SweepError) as caught:
        expand(changes=(change,))
    assert "--set" in caught.value.given


@pytest.mark.parametrize("size", [*sizes.BLOCKS, "huge"])
def test_a_size_that_the_file_does_not_have(expand: Expand, size: str) -> None:
    with pytest.raises(SweepError) as caught:
        expand(size=size)
    assert caught.value.given == f"small.yaml --size {size}"
    assert caught.value.why == ("there is no such size" if size == "huge" else f"the file has no `{size}:` block")
    assert "full" in caught.value.allowed
