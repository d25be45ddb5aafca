"""One sweep: the answer so far, the states of its trials, buttons to act on it, and its views."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import streamlit as st

from analysis import wording
from analysis.claims import judge as claims
from analysis.claims.judge import at_size
from analysis.dashboard.context import current
from analysis.dashboard.data import time_left
from analysis.dashboard.widgets import buttons, elements, notes, views
from analysis.study import Study
from sweeps.results import progress
from sweeps.results.progress import TrialState

CELLS, TABLE, CURVES, PICTURES = "Cells", "Table", "Curves", "Pictures"
SEARCH, CLAIMS = "Search", "Claims"
_VERDICTS = {claims.HOLDS: "green", claims.FAILS: "red", claims.UNDECIDED: "orange", claims.NOT_TESTED: "gray"}
_GROUPS = 4
"""Maximum number of groups of arms whose answer is shown."""


def show() -> None:
    name = elements.pick_sweep()
    if name is None:
        return
    reader = current().reader
    plan = reader.plan(name)
    elements.title(name, str(plan.get("question") or ""))
    states = count(plan, reader.states(name))
    searching = _searches(name)
    busy = searching or bool(states["running"]) or any(child.running for child in current().children.of(name))
    seconds = elements.LIVE_S if busy else elements.STILL_S
    before = _buttons_key(states, name)
    elements.auto_refresh(lambda: _progress(name, before), seconds)
    buttons.button_row(name, states, searching)
    chosen = elements.segments("View", views_of(plan), "view")
    elements.auto_refresh(lambda: _view(name, chosen), seconds)
    notes.section(name, "sweep")


def views_of(plan: Mapping[str, Any]) -> list[str]:
    """Names of the views of a sweep."""
    found = [CELLS, TABLE, CURVES, PICTURES]
    found += [SEARCH] if plan.get("search") else []
    return [*found, CLAIMS] if plan.get("claims") else found


def count(plan: Mapping[str, Any], states: Mapping[str, TrialState]) -> Counter[str]:
    """Number of distinct trials by state; a trial with two target epochs counts as two."""
    runs = progress.targets(dict(plan))
    return Counter(states[trial].words(epochs) for trial, many in runs.items() for epochs in many if trial in states)


def _buttons_key(states: Counter[str], name: str) -> tuple[object, ...]:
    """The values that decide which buttons are enabled; when they change, the whole page is drawn again."""
    busy = any(child.running for child in current().children.of(name))
    left = any(states[state] for state in buttons.OPEN)
    return bool(states["running"]), bool(states["failed"]), left, busy, _searches(name)


def _searches(name: str) -> bool:
    """Whether a search of the sweep has not ended; the plan's cells do not include its trials."""
    reader = current().reader
    return bool(reader.plan(name).get("search")) and not all(one.done for one in reader.study(name).searches)


def _progress(name: str, before: tuple[object, ...]) -> None:
    """The answer so far, then the number of trials by state. before: `_buttons_key` when the buttons were drawn."""
    reader = current().reader
    counts = count(reader.plan(name), reader.states(name))
    if _buttons_key(counts, name) != before:
        st.rerun()
    report = reader.report(name)
    groups = min(_GROUPS, len(report.study.groups))
    for sentence in report.answer[:groups]:  # one per group of comparable arms
        st.markdown(f"**{elements.escape(sentence)}**")
    total, done = sum(counts.values()), counts["done"]
    if 0 < done < total or counts["running"]:
        st.progress(done / total if total else 0.0)
    words = [elements.badge("done", f"{done} of {total} trials done")]
    words += [elements.badge(s, f"{counts[s]} {s}") for s in ("running", "failed", *buttons.OPEN) if counts[s]]
    size = at_size(report.study.size)
    judged = Counter(verdict.verdict for verdict in report.verdicts)
    for verdict, colour in _VERDICTS.items():
        if judged[verdict]:
            words.append(f":{colour}-badge[{elements.escape(_claims(judged[verdict], verdict) + size)}]")
    st.markdown(" ".join(words))
    if counts["running"]:
        _pace(report.study, reader.states(name))
    buttons.show_outcome(name)


def _pace(study: Study, states: Mapping[str, TrialState]) -> None:
    """How long the sweep will take, how busy its machines are, and which trials have fallen silent."""
    left = time_left.seconds(study, states)
    words = [f"About {wording.duration(left)} left with the trials that run now."] if left else []
    if current().settings.ray is None:
        words.append(f"Load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs.")
    words += [used] if (used := time_left.load_words(states.values())) else []
    silent = [one.silent_s for one in states.values() if (one.silent_s or 0.0) > time_left.SILENT_S]
    if silent:
        trials = "trial has" if len(silent) == 1 else "trials have"
        words.append(f"{len(silent)} running {trials} sent no heartbeat for up to {max(filter(None, silent)):.0f} s.")
    elements.note(" ".join(words))


def _view(name: str, chosen: str) -> None:
    report = current().reader.report(name)
    if chosen in (CELLS, CURVES):
        (views.cells if chosen == CELLS else views.curves)(report, current().reader.states(name))
    else:
        of_view = {TABLE: views.table, PICTURES: views.pictures, SEARCH: views.search, CLAIMS: views.claims}
        of_view[chosen](report)
    _links(name)


def _claims(number: int, verdict: str) -> str:
    several = {
        claims.HOLDS: "hold",
        claims.FAILS: "do not hold",
        claims.UNDECIDED: "undecided",
        claims.NOT_TESTED: "not tested",
    }
    return f"{wording.count(number, 'claim')} {verdict if number == 1 else several[verdict]}"


def _links(name: str) -> None:
    """Links to other pages about this sweep."""
    given = current().settings
    with st.container(horizontal=True):
        elements.link("report", "Report", ":material/article:", sweep=name)
        elements.link("compare", "Compare arms", ":material/compare:", sweep=name)
        if given.ray:
            st.link_button("Ray: jobs", f"{given.ray}/#/jobs", icon=":material/open_in_new:")
            st.link_button("Ray: nodes", f"{given.ray}/#/cluster", icon=":material/open_in_new:")
        if given.optuna:
            st.link_button("optuna-dashboard", given.optuna, icon=":material/open_in_new:")
