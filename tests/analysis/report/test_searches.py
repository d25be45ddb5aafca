"""Searches in the report: budgets, saved epochs, unfinished searches, and what counts as a changed plan."""

from __future__ import annotations

import copy
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis import studies
from analysis.claims import plan_history
from analysis.report import build as report
from analysis.report import content, formats
from analysis.study import Study
from sweeps.search.arm_search import pruned_key, suggestion_key
from sweeps.search.search import Search, SearchSpec
from sweeps.search.space import parse
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.analysis.make_store import EPOCHS, NOW, ArmSpec, make_store

SPEC: dict[str, Any] = {
    "space": {"optimiser.lr": {"float": [1.0e-4, 1.0e-1], "log": True}},
    "trials": 6,
    "sampler": "random",
    "metric": "val/psnr_db",
    "goal": "max",
    "early_stopping": {"name": "asha", "grace_epochs": 2, "reduction_factor": 3.0},
    "tune_seeds": [100, 101],
    "report_best": 1,
    "within_arms": False,
    "points": [],
}


def searched(store: FolderStore, arm: str, tells: Sequence[str], spec: dict[str, Any] = SPEC) -> None:
    """A search of an arm whose suggestions end as `tells` says; a pruned one ran 5 epochs of its first seed only."""
    search = Search(
        store, "partial-conv", arm, SearchSpec(parse(spec["space"]), 6, ("val/psnr_db",), ("max",), "random")
    )
    for number, state in enumerate(tells):
        ask = search.ask()
        assert ask is not None
        ids = {str(seed): f"{arm}-{number}-{seed}".replace(" ", "-") for seed in spec["tune_seeds"]}
        store.create(suggestion_key("partial-conv", arm, number), layout.dump(ids))
        if state == "complete":
            search.tell(number, state, [20.0 + number])
            for trial in ids.values():
                body = {"history": {"epoch": [1, 2], "sys/time_s": [3.0, None]}}
                store.put(layout.result_key(trial, EPOCHS), layout.dump(body))
        elif state == "pruned":
            store.put(pruned_key("partial-conv", ids["100"]), layout.dump({"curve": [[4, 1.0], [5, 1.0]]}))
            search.tell(number, state, intermediate={5: 1.0})
        elif state == "failed":
            search.tell(number, state)


def with_search(spec: dict[str, Any], arms: list[str], waiting: Sequence[str] = ()) -> Any:
    def change(plan: dict[str, Any]) -> None:
        plan["search"] = {**spec, "arms": arms}
        for arm in plan["arms"]:
            if arm["name"] in waiting:
                arm["trials"] = {}

    return change


def whole(root: Path, **changed: Any) -> FolderStore:
    """A study whose base has a finished search, which added the arm `tuned #1`."""
    spec = SPEC | changed
    arms = [ArmSpec("net", 26.0), ArmSpec("tuned #1", 27.0, set={"optimiser.lr": 0.01})]
    store = make_store(root, arms, range(3), [], change=with_search(spec, ["net"]))
    searched(store, "net", ["complete", "pruned", "complete", "failed", "pruned", "complete"], spec)
    return store


def terminal(found: content.Report) -> str:
    shown = io.StringIO()
    Console(file=shown, width=250).print(formats.terminal(found))
    return shown.getvalue()


def test_the_report_tells_budget_savings_and_choice(tmp_path: Path) -> None:
    found = report.build(whole(tmp_path), "partial-conv", NOW)
    (search,) = found.study.searches
    assert (search.asked, dict(search.counts)) == (6, {"complete": 3, "pruned": 2, "failed": 1})
    assert search.done
    # 5 told suggestions of 2 seeds and 20 epochs; both pruned ones ended after 5 epochs of one seed
    assert (search.full, search.trained, search.saved) == (5 * 2 * EPOCHS, 3 * 2 * EPOCHS + 2 * 5, 2 * 35)
    for text in (formats.html(found), formats.markdown(found)):
        assert "6 suggestions per arm by random on 2 tuning seeds (100, 101), for the highest val PSNR" in text
        assert "never on the seeds that selected them" in text
        assert "70 of 200 epochs (35 %)" in text
        assert "25 dB" in text
        assert "optimiser.lr" in text
        assert "Tuned: “tuned #1”, 6 suggestions × 2 seeds (100, 101), reported on fresh seeds." in text
        assert "Not tuned: “net”." in text
        assert "130 epochs in 6 suggestions, about 6.5 min; early stopping saved 70 of 200 epochs (35 %)" in text
    assert "chosen as “tuned \\#1”" in formats.markdown(found) or "chosen as “tuned #1”" in formats.markdown(found)
    assert "Tuned: “tuned #1”" in terminal(found)
    assert formats.csv(found)


def test_arms_without_values_wait_for_their_search(tmp_path: Path) -> None:
    spec = {**SPEC, "within_arms": True}
    arms = [ArmSpec("net", 26.0), ArmSpec("conv", 27.0), ArmSpec("telea", 25.0, trains=False)]
    claim = {"text": "conv is better", "metric": "test/psnr_db", "better": "conv", "than": "net"}
    store = make_store(tmp_path, arms, range(3), [claim], change=with_search(spec, ["net", "conv"], ["conv"]))
    searched(store, "net", ["complete"] * 6, spec)
    searched(store, "conv", ["complete", "running"], spec)
    found = report.build(store, "partial-conv", NOW)
    assert found.study.waiting == ["conv"]
    assert found.verdicts[0].verdict == "undecided"
    assert "The search for “conv” is not finished." in found.answer
    for text in (formats.html(found), formats.markdown(found), terminal(found)):
        assert "search not finished" in text
        assert "Tuned: “net”, 6 suggestions × 2 seeds (100, 101), reported on fresh seeds." in text
        assert "Search not finished (6 suggestions × 2 seeds (100, 101)): “conv”." in text
    assert "2 of 6, not finished" in formats.markdown(found)
    assert "each of 2 arms has the same budget" in formats.markdown(found)
    assert "conv" in formats.csv(found)


def test_a_search_without_a_result_is_told_and_nothing_is_called_best(tmp_path: Path) -> None:
    claim = {"text": "tuning helps", "metric": "test/psnr_db", "better": "tuned #1", "than": "net"}
    store = make_store(tmp_path, [ArmSpec("net", 26.0)], range(3), [claim], change=with_search(SPEC, ["net"]))
    searched(store, "net", ["failed"] * 5 + ["pruned"])
    found = report.build(store, "partial-conv", NOW)
    why = "The search of 'net' has no result: of 6 suggestions, 5 failed and 1 were stopped early."
    assert found.answer[0] == why
    assert found.answer[1].startswith("The baseline “net” is the only arm with results: test PSNR 26.")
    for text in (formats.html(found), formats.markdown(found), terminal(found)):
        assert "has no result" in text
        assert "best" not in found.answer[1]
        assert "not finished" not in text
    assert "6 of 6, no result" in formats.markdown(found)
    assert "its search has no result" in found.verdicts[0].sentence
    assert all(entry.mark == "" for row in found.table.rows for entry in row.entries.values())


def test_an_arm_whose_own_search_has_no_result(tmp_path: Path) -> None:
    spec = {**SPEC, "within_arms": True}
    arms = [ArmSpec("net", 26.0), ArmSpec("conv", 27.0), ArmSpec("telea", 25.0, trains=False)]
    claim = {"text": "conv is better", "metric": "test/psnr_db", "better": "conv", "than": "net"}
    store = make_store(tmp_path, arms, range(3), [claim], change=with_search(spec, ["net", "conv"], ["conv"]))
    searched(store, "net", ["complete"] * 6, spec)
    searched(store, "conv", ["failed"] * 6, spec)
    found = report.build(store, "partial-conv", NOW)
    assert found.study.waiting == []
    assert "The search of 'conv' has no result" in found.answer[0]
    assert found.verdicts[0].verdict == "undecided"
    for text in (formats.html(found), formats.markdown(found), terminal(found)):
        assert "search without a result" in text


def test_a_study_where_every_arm_waits_says_so(tmp_path: Path) -> None:
    spec = {**SPEC, "within_arms": True}
    store = make_store(tmp_path, [ArmSpec("net", 26.0)], [0], [], change=with_search(spec, ["net"], ["net"]))
    found = report.build(store, "partial-conv", NOW)
    assert found.answer[0] == "No answer yet: no search has finished."
    assert formats.html(found)
    assert formats.markdown(found)
    assert terminal(found)


def test_a_claim_about_an_arm_that_is_not_found_yet(tmp_path: Path) -> None:
    claim = {"text": "tuning helps", "metric": "test/psnr_db", "better": "tuned #1", "than": "net"}
    store = make_store(tmp_path, [ArmSpec("net", 26.0)], range(3), [claim], change=with_search(SPEC, ["net"]))
    searched(store, "net", ["complete", "running"])
    found = report.build(store, "partial-conv", NOW)
    assert found.verdicts[0].sentence == "The plan has no arm “tuned #1”: its search is not finished."
    assert any("no tuned arm yet" in sentence for sentence in found.table.on_results)


def test_a_search_that_ended_early_says_what_it_asked(tmp_path: Path) -> None:
    found = report.build(whole(tmp_path, trials=9), "partial-conv", NOW)  # its plan has tuned arms, so it is over
    assert "6 of 9, exhausted" in formats.markdown(found)
    assert "9 suggestions × 2 seeds (100, 101) at most (“net”: 6)" in formats.markdown(found)


# --- versions of a plan -----------------------------------------------------------------------------------------------


def version(store: FolderStore, text: str | None = None, at: float = NOW, **changed: Any) -> None:
    """Store a further plan: the newest one with changes."""
    plan = copy.deepcopy(stored_plans.read_plans(store, "partial-conv")[-1])
    text = plan["text"] if text is None else text
    kept = {key: value for key, value in plan.items() if key not in ("schema", "hash", "planned_at", "text")}
    stored_plans.write_plan(store, "partial-conv", kept | changed, text, at)


def study(store: FolderStore) -> Study:
    return studies.read(store, "partial-conv", NOW)


def test_a_version_that_a_search_wrote_is_no_change(tmp_path: Path) -> None:
    store = whole(tmp_path)
    arms = stored_plans.read_plans(store, "partial-conv")[-1]["arms"]
    version(store, arms=[*arms, {**arms[1], "name": "tuned #2"}])
    version(store, command="sweeps run --quiet")
    assert len(study(store).versions) == 2, "how a command is typed makes no version"
    assert plan_history.plan_count(study(store)) == 1
    assert plan_history.change_sentences(study(store)) == []


def test_what_was_changed_after_results_were_there_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path, [ArmSpec("net", 26.0), ArmSpec("conv", 27.0)], range(3))
    arms = stored_plans.read_plans(store, "partial-conv")[-1]["arms"]
    version(store, "# a comment\nname: partial-conv\n", at=NOW - 100)
    assert plan_history.change_sentences(study(store)) == [], "a comment changes nothing that is asked"
    version(store, "other claims", at=NOW - 50, claims=[], arms=[arms[0], {**arms[1], "name": "partial"}])
    (told,) = plan_history.change_sentences(study(store))
    assert told.startswith("The plan was changed after results existed, 2026-")
    assert told.endswith(": the claims, 1 arm added (“partial”) and 1 arm removed (“conv”).")
    page = report.build(store, "partial-conv", NOW)
    assert told in formats.html(page)
    assert told in formats.markdown(page)
    assert told in terminal(page)


def test_a_change_before_the_first_result_is_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path, [ArmSpec("net", 26.0)], range(3))
    version(store, "other", at=NOW - 8000, claims=[{"text": "new"}])
    assert plan_history.plan_count(study(store)) == 2
    assert plan_history.change_sentences(study(store)) == []


def test_importances_need_enough_suggestions(tmp_path: Path) -> None:
    """The PSNR of a try depends only on its learning rate, not on the width."""
    space = {"optimiser.lr": SPEC["space"]["optimiser.lr"], "model.width": {"choice": [8, 16]}}
    spec = {**SPEC, "space": space, "trials": 24, "early_stopping": {"name": "none"}}
    store = make_store(tmp_path, [ArmSpec("net", 26.0)], range(2), [], change=with_search(spec, ["net"]))
    search = Search(store, "partial-conv", "net", SearchSpec(parse(space), 24, ("val/psnr_db",), ("max",), "random"))
    early = ""
    for number in range(24):
        ask = search.ask()
        assert ask is not None
        search.tell(ask.number, "complete", [-abs(math.log10(ask.overrides["optimiser.lr"]) + 2)])
        early = early or (formats.markdown(report.build(store, "partial-conv", NOW)) if number == 3 else "")
    assert "- importance:" not in early
    made = report.build(store, "partial-conv", NOW)
    text = formats.markdown(made)
    found = dict(
        re.findall(
            r"(optimiser\.lr|model\.width) (\d\.\d\d)", next(x for x in text.splitlines() if "- importance:" in x)
        )
    )
    assert float(found["optimiser.lr"]) > 0.8
    assert "24 complete suggestions" in text
    assert "Importance in the search of net" in formats.html(made)
