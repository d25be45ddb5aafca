"""One trial: why it failed if it did, its curves, pictures as they improved, configuration, attempts, provenance."""

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
class _Where:
    """What the address says. targets: epochs that the sweep's plan asks of this trial."""

    trial: str
    body: dict[str, Any]
    sweep: str
    arm: str
    targets: tuple[int, ...]


def show() -> None:
    given = elements.query_value("trial")
    if not given:
        elements.title("Trial")
        elements.empty_state("No trial chosen", "Open a sweep and click a cell of its grid.")
        elements.link("sweeps", "Sweeps", ":material/arrow_back:")
        return
    where = _where(given)
    if where.sweep:
        elements.link("sweep", where.sweep, ":material/arrow_back:", sweep=where.sweep)
    name = where.arm or str(where.body["config"].get("model", {}).get("name", "trial"))
    elements.title(f"{name}, seed {where.body['seed']}", f"trial {where.trial}, task {where.body['task']}")
    state = _state(where)
    _actions(where, state)
    chosen = elements.segments("View", _VIEWS, "view")
    elements.auto_refresh(
        lambda: _body(where, chosen, state.state), elements.LIVE_S if state.state == "running" else elements.STILL_S
    )


def _where(trial: str) -> _Where:
    """The trial of the address; its sweep and arm count only where the plan has them."""
    reader = current().reader
    body = reader.trial(trial)
    sweep, arm, targets = elements.query_value("sweep"), elements.query_value("arm"), ()
    found: tuple[int, ...] = targets
    if sweep:
        plan = reader.plan(reader.check(sweep))
        found = progress.targets(plan).get(trial, ())
        names = [one["name"] for one in plan["arms"] if any(t["id"] == trial for t in one["trials"].values())]
        arm = arm if arm in names else next(iter(names), "")
    return _Where(trial, body, sweep if found else "", arm if found else "", found)


def _state(where: _Where) -> TrialState:
    """How it stands: for its sweep's target, else for what it has reached."""
    reader = current().reader
    if where.sweep:
        return reader.states(where.sweep).get(where.trial, TrialState("queued"))
    reached = tuple(sorted(reader.results(where.trial)))
    return progress.states_of(reader.store, {where.trial: reached or (10**9,)})[where.trial]


def _actions(where: _Where, state: TrialState) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if where.sweep:
            off = buttons.disabled_reason(current()) or ("" if state.state == "running" else "It does not run.")
            label = f"{where.arm}, seed {where.body['seed']}"
            if st.button("Stop this trial", icon=":material/stop:", disabled=bool(off), help=off or None):
                buttons.stop_trial(where.sweep, where.trial, label)
        if state.reached:
            elements.link("try", "Try it on an image", ":material/brush:", trial=where.trial)
        if other := _of_baseline(where):
            pair = f"{other} {where.trial}"
            elements.link("compare", "Compare with the baseline", ":material/compare:", what="Trials", trials=pair)


def _of_baseline(where: _Where) -> str:
    """The trial of the same seed that this one's arm is compared with; '' where there is none but itself."""
    if not where.sweep:
        return ""
    arm, base = _arm_and_baseline(where)
    seed = next((seed for seed, trial in arm.get("trials", {}).items() if trial["id"] == where.trial), "")
    trial = str(base.get("trials", {}).get(seed, {}).get("id", ""))
    return "" if trial == where.trial else trial


def _arm_and_baseline(where: _Where) -> tuple[dict[str, Any], dict[str, Any]]:
    """A trial's arm in its sweep's plan, and the arm that this one is compared with; empty where the plan has none."""
    plan = current().reader.plan(where.sweep)
    arms = {arm["name"]: arm for arm in plan["arms"]}
    arm = arms.get(where.arm, {})
    return arm, arms.get(arm.get("baseline") or plan["baseline"], {})


def _body(where: _Where, chosen: str, before: str) -> None:
    state = _state(where)
    if state.state != before:
        st.rerun()
    target = max(where.targets, default=state.epoch or 0)
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
    }[chosen](where, state)


def _error(error: dict[str, Any]) -> None:
    """Why it failed, first."""
    with st.container(border=True):
        st.markdown(f":red[**{elements.escape(error.get('type', 'error'))}**]")
        st.text(str(error.get("message", "")))
        if error.get("traceback"):
            with st.expander("Where in the code"):
                st.code(str(error["traceback"]), language=None)


# --- views ------------------------------------------------------------------------------------------------------------


def _curves(where: _Where, state: TrialState) -> None:
    results = current().reader.results(where.trial)
    columns = history(current().reader, where.trial, results, state)
    known = [name for name in columns if name != record_columns.EPOCH and any(v is not None for v in columns[name])]
    if not known:
        if state.state == "failed":
            elements.empty_state("No curve", "It failed before its first epoch was saved.")
        else:
            elements.empty_state("No epoch yet", "Its curve begins with the first checkpoint.")
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


def _pictures(where: _Where, _: TrialState) -> None:
    reader = current().reader
    epochs = samples.epochs(reader.store, where.trial)
    if not epochs:
        elements.empty_state(
            "No pictures", "A trial keeps pictures of its evaluation images after epochs 1, 2, 4, 8 and so on."
        )
        return
    known = list(epochs)
    epoch = known[0]
    if len(known) > 1:
        epoch = st.select_slider("Epoch", known, value=known[-1], key="epoch", bind="query-params")
    sheet = samples.sample_sheet(samples.strips(reader.store, epochs[epoch]))
    if sheet is None:
        elements.empty_state("Pictures are missing", "Some were deleted from the store.")
        return
    st.image(sheet, alt=f"evaluation images after epoch {epoch}")
    elements.note(
        f"After epoch {epoch}. Rows from the top: {', '.join(samples.ROWS)}. The same images and masks at every epoch."
    )


def _config(where: _Where, _: TrialState) -> None:
    mine = {**where.body["config"], **({"epochs": max(where.targets)} if where.targets else {})}
    configs, reference = {"this trial": mine}, "this trial"
    if where.sweep:
        base = _arm_and_baseline(where)[1]
        if base and base["name"] != where.arm:
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
        elements.note("Marked: what differs from the baseline.")


def _attempts(where: _Where, _: TrialState) -> None:
    """Every try with its times, where it ran, what it left, and the whole text of its error."""
    store = current().reader.store
    saved = checkpoints.checkpoints(store, where.trial)
    found = stored_attempts.attempts(store, where.trial)
    if not found:
        elements.empty_state("No attempt yet", "Nobody has claimed this trial.")
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
                "how": end["state"] if end else "not ended",
                "epoch": beat.get("epoch"),
                "on": claim.get("provenance", {}).get("hardware", {}).get("host", ""),
                "checkpoints": ", ".join(str(epoch) for name, epoch in saved if name == attempt.name),
                "last sign of life": elements.time_ago(beat.get("time")),
            }
        )
        if end and end.get("error"):
            errors.append((attempt, end["error"]))
    st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–")
    for attempt, error in reversed(errors):
        with st.expander(f"Attempt {attempt.number}: {elements.escape(error.get('type', 'error'))}"):
            st.text(str(error.get("message", "")))
            st.code(str(error.get("full") or error.get("traceback") or ""), language=None)
    for result in current().reader.results(where.trial).values():
        for note in result.get("notes", []):
            elements.note(note)


def _log(where: _Where, _: TrialState) -> None:
    """What happened in an attempt, the newest one first."""
    store = current().reader.store
    names = {attempt.name: attempt for attempt in reversed(stored_attempts.attempts(store, where.trial))}
    if not names:
        elements.empty_state("No attempt yet", "Nobody has claimed this trial.")
        return
    chosen = names[next(iter(names))]
    if len(names) > 1:
        chosen = names[
            elements.select_box("Attempt", list(names), "attempt", lambda name: str(int(name.partition("-")[0])))
        ]
    text = stored_attempts.read_log(store, chosen)
    if not text:
        elements.empty_state("No log", "An attempt writes one while it runs; those of older versions wrote none.")
        return
    lines = text.splitlines()
    st.code("\n".join(lines[-_LOG_LINES:]), language=None, wrap_lines=True)
    if len(lines) > _LOG_LINES:
        elements.note(f"The last {_LOG_LINES} of {len(lines)} lines.")
    name = f"{where.trial}-{chosen.name}.txt"
    st.download_button("Whole log", text, name, "text/plain", icon=":material/download:", on_click="ignore")
    elements.note(
        "Times are UTC. It tells of checkpoints, warnings, stops and errors; what is merely printed is not kept."
    )


def _provenance(where: _Where, _: TrialState) -> None:
    """Code, versions, hardware, speed: of the result, else of the newest attempt."""
    reader = current().reader
    results = reader.results(where.trial)
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
        newest = stored_attempts.newest_attempt(reader.store, where.trial)
        claim = newest and layout.get_json(reader.store, newest.key("attempts", f"{newest.number:04d}.json"))
        facts = dict((claim or {}).get("provenance", {}))
    if not facts:
        elements.empty_state("Nothing to tell yet", "Provenance is written when somebody claims the trial.")
        return
    words = pd.DataFrame(configuration.flatten_to_text(facts).items(), columns=["what", "is"])
    st.dataframe(words, hide_index=True, height=elements.table_height(len(words)))
    given = current().settings.ray
    if given:
        st.link_button("Ray: jobs", f"{given}/#/jobs", icon=":material/open_in_new:")
