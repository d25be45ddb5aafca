"""The searches of a sweep: budgets, outcomes of the suggestions, the best configurations and the chosen ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from analysis import wording
from analysis.study import Study
from sweeps.results import columns as record_columns
from sweeps.search.search import Search, stored_searches
from sweeps.search.status import SearchState
from sweeps.store import layout

_FOR_IMPORTANCE = 8
"""Smallest number of complete suggestions for which importances are reported."""
_GOALS = {"max": "highest", "min": "lowest"}


@dataclass(frozen=True)
class FoundConfiguration:
    """One of the best configurations of a search."""

    changes: str
    """Its changes to the searched arm."""
    value: str
    """Its value of the objectives on the tuning seeds."""
    arm: str
    """The arm that reports it, or ''."""


@dataclass(frozen=True)
class SearchFacts:
    """One search."""

    arm: str
    suggestions: str
    """Number of suggestions so far, the budget, and whether the search has ended."""
    complete: int
    pruned: int
    failed: int
    running: int
    saved: str
    """Epochs saved by early stopping, in words; '' if there is none."""
    found: list[FoundConfiguration]
    importance: str
    """Importance of each parameter, in words; '' if unknown."""


def settings(study: Study) -> list[str]:
    """Settings shared by all searches, as sentences; none without a search."""
    spec = study.plan.get("search")
    if not spec:
        return []
    stopping = spec["early_stopping"]
    seeds = f"{wording.count(len(spec['tune_seeds']), 'tuning seed')} ({_listed(spec['tune_seeds'])})"
    goals = [f"the {_GOALS[goal]} {wording.label(metric)}" for metric, goal in zip(*_objectives(spec), strict=True)]
    equal = f"; each of {len(spec['arms'])} arms has the same budget" if len(spec["arms"]) > 1 else ""
    rule = "No early stopping."
    if stopping["name"] != "none":
        rule = f"Early stopping of suggestions by {stopping['name']} from epoch {stopping['grace_epochs']} on."
    limits = [
        f"{wording.label(column)} at {side} {wording.with_unit(f'{limit:,g}', column)}"
        for column, sides in (spec.get("constraints") or {}).items()
        for side, limit in sides.items()
    ]
    kept = [f"Only configurations that keep these limits became arms: {wording.listing(limits)}."] if limits else []
    return [
        f"{_suggested(spec['trials'])} per arm by {spec['sampler']} on {seeds}, for {wording.listing(goals)}{equal}.",
        "Configurations are reported on fresh seeds, never on the seeds that selected them.",
        rule,
        *kept,
    ]


def facts(study: Study) -> list[SearchFacts]:
    """Each search, in the order of the arms."""
    searches = stored_searches(study.store, study.name) if study.searches else {}
    return [_facts(study, search, _importance(searches.get(search.arm))) for search in study.searches]


def _importance(search: Search | None) -> str:
    """Importance of the parameters of a search with one objective and enough complete suggestions; otherwise ''."""
    complete = 0 if search is None else sum(ask.state == "complete" for ask in search.asks())
    if search is None or complete < _FOR_IMPORTANCE or len(search.spec.metrics) > 1:
        return ""
    importances = search.importances()
    if len(importances) < 2:  # a single parameter always has importance 1
        return ""
    shares = ", ".join(f"{name} {share:.2f}" for name, share in importances.items())
    return f"{shares} (PED-ANOVA, {complete} complete suggestions)"


def _facts(study: Study, search: SearchState, importance: str) -> SearchFacts:
    spec = study.plan["search"]
    metrics, _ = _objectives(spec)
    found = []
    for rank, ask in enumerate(search.best, 1):
        values = [wording.with_unit(f"{value:.4g}", metric) for value, metric in zip(ask.values, metrics, strict=True)]
        values += _limited(spec, ask.constraints)
        arm = _arm_name(spec, search.arm, rank) if rank <= search.chosen else ""
        found.append(FoundConfiguration(_changes(ask.overrides), ", ".join(values), arm))
    state = (
        ", no result"
        if search.failure
        else ""
        if search.done and not search.exhausted
        else ", exhausted"
        if search.done
        else ", not finished"
    )
    saved = ""
    if search.full and spec["early_stopping"]["name"] != "none":
        saved = f"{search.saved:,} of {search.full:,} epochs ({100 * search.saved / search.full:.0f} %)"
    counts = search.counts
    return SearchFacts(
        arm=search.arm,
        suggestions=f"{search.asked} of {search.budget}{state}",
        complete=counts["complete"],
        pruned=counts["pruned"],
        failed=counts["failed"],
        running=counts["running"],
        saved=saved,
        found=found,
        importance=importance,
    )


def _limited(spec: Mapping[str, Any], beyond: Mapping[str, float]) -> list[str]:
    """The values of the limited columns of a suggestion: 'parameters 35,595'."""
    values: dict[str, float] = {}
    for name, distance in beyond.items():
        column, _, side = name.rpartition(" ")
        values[column] = spec["constraints"][column][side] + (distance if side == "most" else -distance)
    return [f"{wording.label(one)} {wording.with_unit(f'{value:,.6g}', one)}" for one, value in values.items()]


def _arm_name(spec: Mapping[str, Any], arm: str, rank: int) -> str:
    if not spec["within_arms"]:
        return f"tuned #{rank}"
    return arm if rank == 1 else f"{arm} #{rank}"


def _changes(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_word(value)}" for key, value in overrides.items())


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _suggested(number: int) -> str:
    return f"{number:,} {'suggestion' if number == 1 else 'suggestions'}"


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _objectives(spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    metrics, goals = (spec[key] if isinstance(spec[key], list) else [spec[key]] for key in ("metric", "goal"))
    return metrics, goals


# --- the table's footnote ---------------------------------------------------------------------------------------------


def caption(study: Study) -> list[str]:
    """Caption sentences: which arms were tuned with which budget, and which searches are not finished."""
    spec = study.plan.get("search")
    if not spec:
        return []
    seeds = f"{wording.count(len(spec['tune_seeds']), 'seed')} ({_listed(spec['tune_seeds'])})"
    budget = f"{_suggested(spec['trials'])} × {seeds}"
    tuned = [arm.name for arm in study.arms if arm.trials and study.tuned(arm.name)]
    sentences = []
    if tuned:
        sentences.append(f"Tuned: {_some(tuned)}, {budget}{_spent(study)}, reported on fresh seeds.")
        others = [arm.name for arm in study.arms if arm.trains and arm.name not in tuned and arm.trials]
        sentences += [f"Not tuned: {_some(others)}."] if others else []
    if study.waiting:
        sentences.append(f"Search not finished ({budget}): {_some(study.waiting)}.")
    if study.search_failures:
        sentences += study.search_failures
    elif not study.waiting and not tuned and spec["report_best"]:
        sentences.append(f"The search is not finished ({budget}): no tuned arm yet.")
    return sentences


def _spent(study: Study) -> str:
    """Number of suggestions of each search, if they differ from the budget."""
    suggestions = {search.arm: search.asked for search in study.searches if search.done}
    if all(count == study.plan["search"]["trials"] for count in suggestions.values()):
        return " each" if len(suggestions) > 1 else ""
    return f" at most ({', '.join(f'{wording.quoted(arm)}: {count}' for arm, count in suggestions.items())})"


def _some(names: list[str], most: int = 6) -> str:
    shown = [wording.quoted(name) for name in names[:most]]
    return wording.listing([*shown, *([f"{len(names) - most} more"] if len(names) > most else [])])


# --- cost -------------------------------------------------------------------------------------------------------------


def cost(study: Study) -> list[tuple[str, str]]:
    """Epochs and computing time of all searches; the time is estimated from the epochs of complete suggestions."""
    if not study.searches:
        return []
    trained, full = sum(s.trained for s in study.searches), sum(s.full for s in study.searches)
    words = f"{trained:,} epochs in {sum(s.asked for s in study.searches):,} suggestions"
    pace = _pace(study)
    if pace:
        words += f", about {wording.duration(trained * pace)}"
    if full > trained:
        words += f"; early stopping saved {full - trained:,} of {full:,} epochs ({100 * (full - trained) / full:.0f} %)"
    return [("searching", words)]


def _pace(study: Study) -> float | None:
    """Mean seconds per epoch of the complete suggestions; None if there are none."""
    keys = [layout.result_key(*trial) for search in study.searches for trial in search.trials]
    results = layout.intact(study.store.get_many(keys)).values()
    seconds = [s for result in results for s in result["history"].get(record_columns.TIME_S, []) if s is not None]
    return fmean(seconds) if seconds else None
