"""One trial: the error if it failed, curves, sample pictures by epoch, configuration, attempts, log, provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.dashboard.context import current
from analysis.dashboard.data import samples
from analysis.dashboard.data.reader import history
from analysis.dashboard.widgets import buttons, configuration, curves, elements
from sweeps.results import columns as record_columns
from sweeps.results import progress
from sweeps.results.progress import TrialState
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout

CURVES, PICTURES, CONFIG, ATTEMPTS, LOG = "Curves", "Pictures", "Configuration", "Attempts", "Log"
PROVENANCE = "Provenance"
_VIEWS = (CURVES, PICTURES, CONFIG, ATTEMPTS, LOG, PROVENANCE)
_LOG_LINES = 100
_BASE = "baseline"


@dataclass(frozen=True)
class _Address:
    """The trial that the page's address names, with its sweep and arm if the sweep's plan has it."""

    trial: str
    body: dict[str, Any]
    """The trial as stored."""
    sweep: str
    """Name of the sweep, or ''."""
    arm: str
    """Name of the arm, or ''."""
    targets: tuple[int, ...]
    """Target epochs of the trial in the sweep's plan."""


def show() -> None:
    given = elements.query_value("trial")
    if not given:
        elements.title("Trial")
        elements.empty_state("No trial chosen", "Open a sweep and click a cell of its grid.")
        elements.link("sweeps", "Sweeps", ":material/arrow_back:")
        return
    address = _read_address(given)
    if address.sweep:
        elements.link("sweep", address.sweep, ":material/arrow_back:", sweep=address.sweep)
    name = address.arm or str(address.body["config"].get("model", {}).get("name", "trial"))
    elements.title(f"{name}, seed {address.body['seed']}", f"trial {address.trial}, task {address.body['task']}")
    state = _state(address)
    _actions(address, state)
    chosen = elements.segments("View", _VIEWS, "view")
    elements.auto_refresh(
        lambda: _body(address, chosen, state.state), elements.LIVE_S if state.state == "running" else elements.STILL_S
    )


def _read_address(trial: str) -> _Address:
    """Look up the trial; sweep and arm are ignored unless the plan has this trial in them."""
    reader = current().reader
    body = reader.trial(trial)
    sweep, arm, targets = elements.query_value("sweep"), elements.query_value("arm"), ()
    found: tuple[int, ...] = targets
    if sweep:
        plan = reader.plan(reader.check(sweep))
        found = progress.targets(plan).get(trial, ())
        names = [one["name"] for one in plan["arms"] if any(t["id"] == trial for t in one["trials"].values())]
        arm = arm if arm in names else next(iter(names), "")
    return _Address(trial, body, sweep if found else "", arm if found else "", found)


def _state(address: _Address) -> TrialState:
    """State of the trial: for its target in the sweep if there is one, else for the epochs that it has reached."""
    reader = current().reader
    if address.sweep:
        return reader.states(address.sweep).get(address.trial, TrialState("queued"))
    reached = tuple(sorted(reader.results(address.trial)))
    return progress.states_of(reader.store, {address.trial: reached or (10**9,)})[address.trial]


def _actions(address: _Address, state: TrialState) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if address.sweep:
            off = buttons.disabled_reason(current()) or ("" if state.state == "running" else "It is not running.")
            label = f"{address.arm}, seed {address.body['seed']}"
            if st.button("Stop this trial", icon=":material/stop:", disabled=bool(off), help=off or None):
                buttons.stop_trial(address.sweep, address.trial, label)
        if state.reached:
            elements.link("try", "Try it on an image", ":material/brush:", trial=address.trial)
        if other := _baseline_trial(address):
            pair = f"{other} {address.trial}"
            elements.link("compare", "Compare with the baseline", ":material/compare:", what="Trials", trials=pair)


def _baseline_trial(address: _Address) -> str:
    """The baseline's trial with the same seed; '' if there is none or it is this trial."""
    if not address.sweep:
        return ""
    arm, base = _arm_and_baseline(address)
    seed = next((seed for seed, trial in arm.get("trials", {}).items() if trial["id"] == address.trial), "")
    trial = str(base.get("trials", {}).get(seed, {}).get("id", ""))
    return "" if trial == address.trial else trial


def _arm_and_baseline(address: _Address) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trial's arm in the plan and that arm's baseline; empty if the plan has none."""
    plan = current().reader.plan(address.sweep)
    arms = {arm["name"]: arm for arm in plan["arms"]}
    arm = arms.get(address.arm, {})
    return arm, arms.get(arm.get("baseline") or plan["baseline"], {})


def _body(address: _Address, chosen: str, before: str) -> None:
    state = _state(address)
    if state.state != before:
        st.rerun()
    target = max(address.targets, default=state.epoch or 0)
    st.markdown(f"{elements.badge(state.state)} {elements.escape(f'epoch {state.epoch or 0} of {target}')}")
    if state.error:
        _error(state.error)
    {
        CURVES: _curves,
        PICTURES: _pictures,
        CONFIG: _config,
        ATTEMPTS: _attempts,
        LOG: _log,
        PROVENANCE: _provenance,
    }[chosen](address, state)


def _error(error: dict[str, Any]) -> None:
    """The error of a failed trial."""
    with st.container(border=True):
        st.markdown(f":red[**{elements.escape(error.get('type', 'error'))}**]")
        st.text(str(error.get("message", "")))
        if error.get("traceback"):
            with st.expander("Where in the code"):
                st.code(str(error["traceback"]), language=None)


# --- views ------------------------------------------------------------------------------------------------------------


def _curves(address: _Address, state: TrialState) -> None:
    results = current().reader.results(address.trial)
    columns = history(current().reader, address.trial, results, state)
    known = [name for name in columns if name != record_columns.EPOCH and any(v is not None for v in columns[name])]
    if not known:
        if state.state == "failed":
            elements.empty_state("No curve", "The trial failed before its first epoch was saved.")
        else:
            elements.empty_state("No epoch yet", "The curve begins with the first checkpoint.")
        return
    known.sort(key=lambda name: (not name.startswith("val/psnr"), not name.startswith("val/"), name))
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        column = elements.select_box("Metric", known, "curve", wording.label)
    log = right.toggle("Log axis", key="log", bind="query-params")
    figure = curves.histories_figure({"this trial": columns}, column, elements.is_dark(), log)
    st.plotly_chart(figure, key="curve_figure", theme=None, config=curves.CONFIG)
    last = [(name, next((v for v in reversed(columns[name]) if v is not None), None)) for name in known]
    table = pd.DataFrame(
        [(wording.label(n), elements.format_value(v, n), n) for n, v in last], columns=["metric", "newest", "column"]
    )
    st.dataframe(table, hide_index=True, height=280)


def _pictures(address: _Address, _: TrialState) -> None:
    reader = current().reader
    epochs = samples.epochs(reader.store, address.trial)
    if not epochs:
        elements.empty_state(
            "No pictures", "A trial saves pictures of its evaluation images after epochs 1, 2, 4, 8 and so on."
        )
        return
    known = list(epochs)
    epoch = known[0]
    if len(known) > 1:
        epoch = st.select_slider("Epoch", known, value=known[-1], key="epoch", bind="query-params")
    sheet = samples.sample_sheet(samples.strips(reader.store, epochs[epoch]))
    if sheet is None:
        elements.empty_state("Pictures are missing", "Some of them were deleted from the store.")
        return
    st.image(sheet, alt=f"evaluation images after epoch {epoch}")
    elements.note(
        f"After epoch {epoch}. Rows from the top: {', '.join(samples.ROWS)}. All epochs have the same images and masks."
    )


def _config(address: _Address, _: TrialState) -> None:
    mine = {**address.body["config"], **({"epochs": max(address.targets)} if address.targets else {})}
    configs, reference = {"this trial": mine}, "this trial"
    if address.sweep:
        base = _arm_and_baseline(address)[1]
        if base and base["name"] != address.arm:
            reference = f"{_BASE}: {base['name']}"
            configs = {reference: base["config"], "this trial": mine}
    only = (
        st.toggle("Differences only", value=True, key="differences", bind="query-params") if len(configs) > 1 else False
    )
    table, marks = configuration.comparison_table(configs, reference, only)
    if table.empty:
        elements.empty_state("No difference", "This trial has the baseline's configuration.")
        return
    st.dataframe(
        table.style.apply(lambda _: marks, axis=None), hide_index=True, height=elements.table_height(len(table))
    )
    if len(configs) > 1:
        elements.note("Differences from the baseline are marked.")


def _attempts(address: _Address, _: TrialState) -> None:
    """Every attempt with its times, host, checkpoints, and full error."""
    store = current().reader.store
    saved = checkpoints.checkpoints(store, address.trial)
    found = stored_attempts.attempts(store, address.trial)
    if not found:
        elements.empty_state("No attempt yet", "This trial has not been started.")
        return
    keys = [key for a in found for key in (a.key("attempts", f"{a.number:04d}.json"), a.end_key, a.beat_key)]
    bodies = {key: layout.load(key, data) for key, data in store.get_many(keys).items()}
    rows, errors = [], []
    for attempt in found:
        claim = bodies.get(attempt.key("attempts", f"{attempt.number:04d}.json"), {})
        end, beat = bodies.get(attempt.end_key), bodies.get(attempt.beat_key, {})
        ended = end["ended_at"] if end and end.get("ended_at") else None
        rows.append(
            {
                "attempt": attempt.number,
                "began, UTC": elements.format_time(claim.get("claimed_at")),
                "ended, UTC": elements.format_time(ended),
                "state": end["state"] if end else "not ended",
                "epoch": beat.get("epoch"),
                "host": claim.get("provenance", {}).get("hardware", {}).get("host", ""),
                "checkpoints": ", ".join(str(epoch) for name, epoch in saved if name == attempt.name),
                "last heartbeat": elements.time_ago(beat.get("time")),
            }
        )
        if end and end.get("error"):
            errors.append((attempt, end["error"]))
    st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–")
    for attempt, error in reversed(errors):
        with st.expander(f"Attempt {attempt.number}: {elements.escape(error.get('type', 'error'))}"):
            st.text(str(error.get("message", "")))
            st.code(str(error.get("full") or error.get("traceback") or ""), language=None)
    for result in current().reader.results(address.trial).values():
        for note in result.get("notes", []):
            elements.note(note)


def _log(address: _Address, _: TrialState) -> None:
    """The log of an attempt, by default of the newest."""
    store = current().reader.store
    names = {attempt.name: attempt for attempt in reversed(stored_attempts.attempts(store, address.trial))}
    if not names:
        elements.empty_state("No attempt yet", "This trial has not been started.")
        return
    chosen = names[next(iter(names))]
    if len(names) > 1:
        chosen = names[
            elements.select_box("Attempt", list(names), "attempt", lambda name: str(int(name.partition("-")[0])))
        ]
    text = stored_attempts.read_log(store, chosen)
    if not text:
        elements.empty_state("No log", "Attempts of older versions did not write one.")
        return
    lines = text.splitlines()
    st.code("\n".join(lines[-_LOG_LINES:]), language=None, wrap_lines=True)
    if len(lines) > _LOG_LINES:
        elements.note(f"The last {_LOG_LINES} of {len(lines)} lines.")
    name = f"{address.trial}-{chosen.name}.txt"
    st.download_button("Whole log", text, name, "text/plain", icon=":material/download:", on_click="ignore")
    elements.note(
        "Times are UTC. The log has checkpoints, warnings, stops and errors, but not what the program printed."
    )


def _provenance(address: _Address, _: TrialState) -> None:
    """Code, versions, hardware and speed, from the result, else from the newest attempt."""
    reader = current().reader
    results = reader.results(address.trial)
    facts: dict[str, Any] = {}
    if results:
        result = results[max(results)]
        took = result["ended_at"] - result["started_at"]
        facts = {
            "attempt": result["attempt"],
            "took": wording.duration(took),
            **result["facts"],
            **result["provenance"],
        }
        speeds = [s for s in result["history"].get(record_columns.IMAGES_PER_S, []) if s]
        if speeds:
            facts["training speed, median"] = f"{sorted(speeds)[len(speeds) // 2]:,.0f} images/s"
    else:
        newest = stored_attempts.newest_attempt(reader.store, address.trial)
        claim = newest and layout.get_json(reader.store, newest.key("attempts", f"{newest.number:04d}.json"))
        facts = dict((claim or {}).get("provenance", {}))
    if not facts:
        elements.empty_state("No provenance yet", "It is written when the trial is started.")
        return
    words = pd.DataFrame(configuration.flatten_to_text(facts).items(), columns=["fact", "value"])
    st.dataframe(words, hide_index=True, height=elements.table_height(len(words)))
    given = current().settings.ray
    if given:
        st.link_button("Ray: jobs", f"{given}/#/jobs", icon=":material/open_in_new:")
