"""The list of sweeps: question, state, best arm so far, claims, cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.claims.judge import at_size
from analysis.dashboard import theme
from analysis.dashboard.context import current
from analysis.dashboard.data.sweep_line import SweepLine
from analysis.dashboard.widgets import elements
from sweeps.results import notes
from sweeps.results.progress import EXTENDED

_TABLE = "sweeps_table"
_ORDERS = ("newest first", "name", "state")
_WORKING, _UNKNOWN = "…", "–"
_URGENT = ("running", "failed", "interrupted", EXTENDED, "damaged", "queued", "done", "")
_FEW = 8
"""With fewer sweeps than this, the page has no search and no sorting."""


def show() -> None:
    shared = current()
    elements.title("Sweeps", f"in {shared.settings.store}")
    found = ""
    order = _ORDERS[0]
    if len(shared.reader.names()) >= _FEW:
        left, right = st.columns([3, 1])
        found = left.text_input("Search", key="search", placeholder="name, question or tag", bind="query-params")
        with right:
            order = elements.select_box("Sort", _ORDERS, "sort")
    lines = shared.summaries.lines()
    busy = shared.summaries.working or any(line.states["running"] for line in lines)
    elements.auto_refresh(lambda: _list(found, order), elements.LIVE_S if busy else elements.STILL_S)


def _list(found: str, order: str) -> None:
    shared = current()
    lines = shared.summaries.lines()
    if not lines:
        elements.no_sweeps()
        return
    _counts(lines)
    tags = {name: ", ".join(notes.tags_of(many)) for name, many in shared.reader.all_notes().items()}
    chosen = [line for line in lines if _matches(line, found, tags.get(line.name, ""))]
    if not chosen:
        elements.empty_state(
            f"No sweep matches “{found}”", f"There are {len(lines)} sweeps. Search for part of a name, question or tag."
        )
        return
    chosen.sort(key=_key(order))
    words: dict[str, Any] = {"Cost": wording.duration, "Last change": elements.time_ago}
    event: Any = st.dataframe(
        _frame(chosen, tags).style.format(words, na_rep=_UNKNOWN),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key=_TABLE,
        height=elements.table_height(len(chosen)),
        column_config=_columns(),
        placeholder=_UNKNOWN,
    )
    elements.note("Click a sweep to open it. Click a column heading to sort by it.")
    if event.selection.cells:
        row = event.selection.cells[0][0]
        elements.open_page("sweep", {"sweep": chosen[row].name})


def _matches(line: SweepLine, found: str, tags: str) -> bool:
    text = f"{line.name} {line.question} {line.task} {line.state} {tags}".lower()
    return all(word in text for word in found.lower().split())


def _key(order: str) -> Any:
    if order == "name":
        return lambda line: line.name
    if order == "state":
        return lambda line: (_URGENT.index(line.state), line.name)
    return lambda line: (not line.states["running"], -line.changed_at, line.name)


def _counts(lines: list[SweepLine]) -> None:
    """Number of sweeps by state, and of trials."""
    trials, sweeps = sum(line.total for line in lines), wording.count(len(lines), "sweep")
    if not all(line.known for line in lines):
        st.markdown(f"{wording.count(trials, 'trial')} in {sweeps}; reading their states {_WORKING}")
        return
    states = [line.state for line in lines]
    badges = [elements.badge(state, f"{states.count(state)} {state}") for state in _URGENT if state in states]
    done = sum(line.states["done"] for line in lines)
    st.markdown(f"{' '.join(badges)} &nbsp; {done:,} of {trials:,} trials done in {sweeps}")


def _frame(lines: list[SweepLine], tags: Mapping[str, str]) -> pd.DataFrame:
    of_people = {"Tags": [tags.get(line.name, "") for line in lines]}
    return pd.DataFrame(
        {
            "Sweep": [line.name for line in lines],
            "State": [_state_words(line) for line in lines],
            "Done": [_share_done(line) for line in lines],
            "Best so far": [_best(line) for line in lines],
            "Claims": [_claims(line) for line in lines],
            "Cost": pd.Series([line.summary.seconds if line.summary else None for line in lines], dtype=float),
            "Last change": pd.Series([_changed_at(line) for line in lines], dtype=float),
            **(of_people if any(of_people["Tags"]) else {}),
            "Question": [line.question for line in lines],
        }
    )


def _state_words(line: SweepLine) -> str:
    if not line.known:
        return _WORKING
    words = line.state
    if line.state == "failed":
        words = f"{line.states['failed']} failed"
    if line.state == "queued" and line.searching:
        words = "searching"
    return f"{theme.STATES[line.state][2]} {words}"


def _share_done(line: SweepLine) -> float | None:
    """Share of finished trials in percent; None while the states are not known."""
    if not line.known:
        return None
    return 100 * line.states["done"] / line.total if line.total else 0.0


def _best(line: SweepLine) -> str:
    if line.summary is None:
        return _placeholder(line)
    return f"{line.summary.best_arm}: {line.summary.best}" if line.summary.best else _UNKNOWN


def _changed_at(line: SweepLine) -> float | None:
    """When anything of the sweep changed last, in seconds since 1970; None if nothing has."""
    return time.time() if line.states["running"] else line.changed_at or None


def _placeholder(line: SweepLine) -> str:
    """Text in place of a missing summary: being computed, or not computable (the sweep's own page shows why)."""
    return _UNKNOWN if line.unreadable else _WORKING


def _claims(line: SweepLine) -> str:
    if line.summary is None:
        return _placeholder(line)
    size = at_size(line.summary.size)
    return f"{line.summary.holds} of {line.summary.claims} hold{size}" if line.summary.claims else _UNKNOWN


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "Sweep": column.TextColumn(width=175, pinned=True),
        "State": column.TextColumn(width=110),
        "Done": column.ProgressColumn(width=85, min_value=0.0, max_value=100.0, format="%d%%"),
        "Best so far": column.TextColumn(width=280, help="Best mean of the first metric, with its interval"),
        "Claims": column.TextColumn(width=150),
        "Cost": column.Column(width=75, help="Computing time of the finished trials"),
        "Last change": column.Column(width=95),
        "Tags": column.TextColumn(width="small"),
        "Question": column.TextColumn(width="medium"),
    }
