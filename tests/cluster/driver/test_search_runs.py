"""A search within a sweep, end to end on real images: suggestions, early stopping, tuned arms, resuming."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis import studies
from analysis.report.sections import searches
from cluster.driver import pending_work
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.results import progress
from sweeps.search.arm_search import check_space, pruned_key
from sweeps.search.search import stored_searches
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from tests.cluster.small import Planned, run
from trainables import schema

SEARCHED = """\
# Which learning rate is best?
name: searched
task: inpaint
base:
  data: {name: cifar10, train: 64, val: 32, test: 32}
  mask: {name: lines}
  model: {name: vanilla_autoencoder, width: 4}
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 32
  epochs: 4
seeds: 2
arms:
  - {name: mean fill, set: {model: {name: mean_fill}}}
report: {metrics: [test/psnr_db]}
search:
  space: {optimiser.lr: {float: [1.0e-5, 1.0e-1], log: true}}
  trials: 5
  sampler: random
  metric: val/psnr_db
  goal: max
  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}
  tune_seeds: [100]
"""


def stored(store: Store) -> dict[str, Any]:
    return stored_plans.read_plans(store, "searched")[-1]


def states(store: Store) -> Counter[str]:
    plan = stored(store)
    return Counter(state.state for state in progress.trial_states(store, plan).values())


def test_a_search_ends_in_tuned_arms(planned: Planned, store: Store, data_root: Path) -> None:
    watched = run(planned("search.report_best=2", text=SEARCHED), store, data_root)
    arms = {arm["name"]: arm for arm in stored(store)["arms"]}
    assert list(arms) == ["base", "tuned #1", "tuned #2", "mean fill"]
    search = stored_searches(store, "searched")["base"]
    asks = search.asks()
    assert len(asks) == 5
    told = Counter(ask.state for ask in asks)
    assert told["complete"] + told["pruned"] == 5
    best = max((ask for ask in asks if ask.state == "complete"), key=lambda ask: ask.values[0])
    assert arms["tuned #1"]["config"]["optimiser"]["lr"] == best.overrides["optimiser.lr"]
    assert arms["tuned #1"]["set"] == best.overrides
    assert list(arms["tuned #1"]["trials"]) == ["0", "1"], "seeds that chose do not report"
    assert states(store) == Counter(done=7)
    labels = [label for event, label in watched.events if event == "pruned"]
    assert all(" try " in label for label in labels), "planned arms are never stopped"
    assert run(planned("search.report_best=2", text=SEARCHED), store, data_root).events == []


def test_a_search_whose_tries_all_failed_is_no_success(
    tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Learning rates of 1e29 diverge at once; every verb says so, and the run ends with 1, also the second time."""
    text = SEARCHED.replace("[1.0e-5, 1.0e-1]", "[1.0e+29, 1.0e+30]").replace("trials: 5", "trials: 2")
    text = text.replace("name: adam", "name: sgd").replace("seeds: 2", "seeds: 1").replace("epochs: 4", "epochs: 1")
    file = tmp_path / "searched.yaml"
    file.write_text(text.replace("grace_epochs: 1, reduction_factor: 2", "grace_epochs: 1"))
    place = ["--store", str(tmp_path / "store")]
    run_it = ["run", str(file), *place, "--data", str(data_root), "--address", "in-process"]
    why = "the search of 'base' has no result: of 2 suggestions, 2 failed, most often with Diverged"
    for command, code in (
        (run_it, 1),
        (run_it, 1),
        (["status", "searched", *place], 0),
        (["plan", str(file), *place], 0),
        (["report", "searched", *place], 0),
    ):
        assert main(command) == code, command
        assert why.lower() in " ".join(capsys.readouterr().out.lower().split()), command


def test_only_what_keeps_the_limits_becomes_an_arm(planned: Planned, store: Store, data_root: Path) -> None:
    text = SEARCHED.replace("{optimiser.lr: {float: [1.0e-5, 1.0e-1], log: true}}", "{model.width: {choice: [4, 8]}}")
    text = text.replace("trials: 5", "trials: 2\n  constraints: {parameters: {most: 100000}, sys/time_s: {most: 600}}")
    run(planned("epochs=1", "seeds=1", "arms=[]", "search.early_stopping={name: none}", text=text), store, data_root)
    asks = {ask.overrides["model.width"]: ask for ask in stored_searches(store, "searched")["base"].asks()}
    assert all(set(ask.constraints) == {"parameters most", "sys/time_s most"} for ask in asks.values())
    assert all(ask.constraints["sys/time_s most"] < 0 for ask in asks.values())
    parameters = {width: 100_000 + ask.constraints["parameters most"] for width, ask in asks.items()}
    assert parameters[4] < 100_000 < parameters[8]
    assert (asks[4].fits, asks[8].fits) == (True, False)
    tuned = [arm for arm in stored(store)["arms"] if arm["name"].startswith("tuned")]
    assert [arm["config"]["model"]["width"] for arm in tuned] == [4]
    study = studies.read(store, "searched")
    (found,) = searches.facts(study)[0].found
    assert f"parameters {parameters[4]:,.0f}, time per epoch" in found.value
    said = " ".join(searches.settings(study))
    assert "Only configurations that keep these limits became arms: parameters at most 100,000 and time" in said


def test_a_pruned_trial_is_told_as_pruned_and_keeps_its_curve(planned: Planned, store: Store, data_root: Path) -> None:
    # The first suggestion is good and the next one bad: the rule must stop it at its first rung.
    text = SEARCHED.replace("sampler: random", "points: [{optimiser.lr: 0.01}, {optimiser.lr: 1.0e-5}]").replace(
        "trials: 5", "trials: 2"
    )
    watched = run(planned(text=text), store, data_root)
    assert [event for event, label in watched.events if "suggestion 1" in label] == ["added", "started", "pruned"]
    search = stored_searches(store, "searched")["base"]
    assert [ask.state for ask in search.asks()] == ["complete", "pruned"]
    study = search.study()
    assert study.trials[1].state.name == "PRUNED"
    assert list(study.trials[1].intermediate_values) == [1], "judged after the grace epoch, with its true value there"
    marks = store.children("sweeps/searched/pruned")
    assert len(marks) == 1
    mark = layout.get_json(store, f"sweeps/searched/pruned/{marks[0]}")
    assert [epoch for epoch, _ in mark["curve"]] == [1]
    assert store.children(f"trials/{mark['trial']}/result") == []


def test_a_pruned_trial_can_be_a_full_arm_elsewhere(planned: Planned, store: Store, data_root: Path) -> None:
    text = SEARCHED.replace("sampler: random", "points: [{optimiser.lr: 0.01}, {optimiser.lr: 1.0e-5}]").replace(
        "trials: 5", "trials: 2"
    )
    run(planned(text=text), store, data_root)
    mark = store.children("sweeps/searched/pruned")[0].removesuffix(".json")
    alone = text[: text.index("search:")].replace("name: searched", "name: other").replace("lr: 1.0e-3", "lr: 1.0e-5")
    plan = planned(text=alone.replace("seeds: 2", "seeds: [100]"))
    assert plan.arms[0].trials[100].id == mark
    run(plan, store, data_root)
    assert layout.get_json(store, layout.result_key(mark, 4))["history"]["epoch"] == [1, 2, 3, 4]
    assert store.exists_many([pruned_key("searched", mark)]), "in the search it stays pruned"


@pytest.mark.slow  # above: one search for all arms
def test_each_arm_can_have_its_own_search(planned: Planned, store: Store, data_root: Path) -> None:
    text = SEARCHED.replace("tune_seeds: [100]", "tune_seeds: [100, 101]\n  within_arms: true").replace(
        "arms:\n", "arms:\n  - {name: wide, set: {model.width: 8}}\n"
    )
    plan = planned("search.trials=2", "search.early_stopping.name=none", text=text)
    assert [len(arm.trials) for arm in plan.arms] == [0, 0, 2], "what is tuned has no trials before"
    run(plan, store, data_root)
    searches = stored_searches(store, "searched")
    assert {name: [ask.state for ask in search.asks()] for name, search in searches.items()} == {
        "base": ["complete", "complete"],
        "wide": ["complete", "complete"],
    }
    arms = {arm["name"]: arm for arm in stored(store)["arms"]}
    assert list(arms) == ["base", "wide", "mean fill"]
    assert arms["wide"]["config"]["model"]["width"] == 8
    assert arms["wide"]["config"]["optimiser"]["lr"] == searches["wide"].best(1)[0].overrides["optimiser.lr"]
    value = searches["wide"].best(1)[0].values[0]
    results = [layout.load(key, store.get(key)) for key in store.keys("trials/") if key.endswith("/result/4.json")]
    finals = [result["history"]["val/psnr_db"][-1] for result in results]
    assert any(abs((a + b) / 2 - value) < 1e-12 for a in finals for b in finals if a != b), "the mean over tuning seeds"
    assert states(store) == Counter(done=5)


def test_a_failing_suggestion_does_not_stop_the_search(planned: Planned, store: Store, data_root: Path) -> None:
    text = SEARCHED.replace("float: [1.0e-5, 1.0e-1]", "float: [1.0e-5, 1.0e+30]").replace(
        "sampler: random", "points: [{optimiser.lr: 1.0e+30}, {optimiser.lr: 0.01}]"
    )
    plan = planned("search.trials=2", "base.model.width=4", text=text.replace("name: adam", "name: sgd"))
    run(plan, store, data_root)
    assert [ask.state for ask in stored_searches(store, "searched")["base"].asks()] == ["failed", "complete"]
    assert states(store) == Counter(done=5)


@pytest.mark.slow  # test_search.py: several objectives without training
def test_several_objectives(planned: Planned, store: Store, data_root: Path) -> None:
    text = SEARCHED.replace("sampler: random", "sampler: nsga2").replace(
        "  early_stopping: {name: asha, grace_epochs: 1, reduction_factor: 2}\n", "  report_best: 0\n"
    )
    text = text.replace("metric: val/psnr_db", "metric: [val/psnr_db, parameters]").replace(
        "goal: max", "goal: [max, min]"
    )
    text = text.replace("log: true}}", "log: true}, model.width: {choice: [2, 4]}}")
    run(planned("search.trials=4", text=text), store, data_root)
    search = stored_searches(store, "searched")["base"]
    widths = {ask.overrides["model.width"]: ask.values[1] for ask in search.asks()}
    assert all(value == int(value) > 0 for value in widths.values())
    assert search.front()


@pytest.mark.parametrize("where", ["in-process", pytest.param("Ray", marks=pytest.mark.slow)])
def test_a_search_goes_on_where_it_was_stopped(
    planned: Planned, store: Store, data_root: Path, where: str, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue("ray_address") if where == "Ray" else where
    plan = planned(text=SEARCHED)
    work = pending_work.work_left(plan, store, schema)
    tuning = work.searches[0]
    asked = tuning.ask()
    assert asked is not None, "asked by a driver that died before it trained anything"
    run(planned(text=SEARCHED), store, data_root, address)
    search = stored_searches(store, "searched")["base"]
    assert len(search.asks()) == 5
    assert search.done
    assert states(store) == Counter(done=5)
    first = layout.get_json(store, layout.result_key(asked.trials[0].id, 4))
    assert first is not None, "the first suggestion has nothing to be compared with and is never stopped"


@pytest.mark.parametrize(
    ("old", "new", "given", "why"),
    [
        (
            "tune_seeds: [100]",
            "tune_seeds: [1]",
            "search.tune_seeds",
            "would both select configurations and report on them",
        ),
        ("metric: val/psnr_db", "metric: test/psnr_db", "search.metric", "would bias"),
        ("metric: val/psnr_db", "metric: val/psnr", "search.metric", "no trial reports it"),
        ("goal: max", "goal: most", "search.goal", ""),
        ("goal: max", "goal: [max, min]", "2 goals", "each metric needs a goal"),
        ("sampler: random", "sampler: tpee", "search.sampler", ""),
        ("{optimiser.lr: {float: [1.0e-5, 1.0e-1], log: true}}", "{}", "search", ""),
        ("[1.0e-5, 1.0e-1]", "[1.0e-1, 1.0e-5]", "optimiser.lr", ""),
        ("{optimiser.lr:", "{optimiser.learning_rate:", "optimiser 'learning_rate'", "there is no such name"),
        ("{optimiser.lr: {float: [1.0e-5, 1.0e-1], log: true}}", "{batch: {int: [0, 8]}}", "batch: 0", ""),
        ("sampler: random", "points: [{optimiser.lr: 7.0}]", "", ""),
        ("trials: 5", "trials: 0", "search.trials", ""),
        ("tune_seeds: [100]", "tune_seeds: []", "search.tune_seeds", ""),
        ("tune_seeds: [100]", "report_best: 0\n  within_arms: true", "search.report_best", "no tuned arms"),
        ("early_stopping: {name: asha,", "early_stopping: {name: hyperband,", "search.early_stopping.name", ""),
    ],
)
def test_mistakes_in_a_search_are_told_before_anything_runs(
    planned: Planned, old: str, new: str, given: str, why: str
) -> None:
    assert old in SEARCHED

    def check() -> None:
        plan = planned(text=SEARCHED.replace(old, new))
        check_space(plan.sweep, plan.searched[0], schema)

    with pytest.raises(SweepError) as caught:
        check()
    assert given in caught.value.given
    assert why in caught.value.why
    assert caught.value.allowed
    assert caught.value.fix


def test_several_objectives_and_early_stopping_exclude_each_other(planned: Planned) -> None:
    with pytest.raises(SweepError, match="several objectives"):
        planned("search.metric=[val/psnr_db, parameters]", "search.goal=[max, min]", text=SEARCHED)
