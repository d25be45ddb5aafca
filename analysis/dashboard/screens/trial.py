"""One trial: the error if it failed, curves, pictures by epoch, configuration, code, attempts, log, provenance."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.dashboard.context import current
from analysis.dashboard.data import samples, time_left
from analysis.dashboard.data.reader import history
from analysis.dashboard.widgets import attempts, buttons, code, configuration, curves, elements, notes, picture_grid
from sweeps.results import columns as record_columns
from sweeps.results import failures, progress
from sweeps.results.older_code import without_hash
from sweeps.results.progress import TrialState
from sweeps.store import plans as stored_plans

CURVES, PICTURES, CONFIG, CODE = "Curves", "Pictures", "Configuration", "Code"
ATTEMPTS, LOG, PROVENANCE = "Attempts", "Log", "Provenance"
_VIEWS = (CURVES, PICTURES, CONFIG, CODE, ATTEMPTS, LOG, PROVENANCE)
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
    task = without_hash(address.body["task"])
    elements.title(f"{name}, seed {address.body['seed']}", f"trial {address.trial}, task {task}")
    state = _state(address)
    _actions(address, state)
    chosen = elements.segments("View", _VIEWS, "view")
    elements.auto_refresh(
        lambda: _body(address, chosen, state.state), elements.LIVE_S if state.state == "running" else elements.STILL_S
    )
    if address.sweep:
        notes.section(address.sweep, "trial", address.trial)


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
            notes.star_button(address.sweep, address.trial)
        if state.reached:
            place = {"trial": address.trial} | ({"sweep": address.sweep} if address.sweep else {})
            elements.link("try", "Try it on an image", ":material/brush:", **place)
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
    st.markdown(f"{elements.badge(state.words(target))} {elements.escape(f'epoch {state.epoch or 0} of {target}')}")
    if used := time_left.load_words([state]):
        elements.note(used)
    if state.error:
        own = _arm_and_baseline(address)[0].get("set", ()) if address.sweep else ()
        _error(state.error, address.body["config"], own)
    if changed := _changed_code(address):
        st.warning(
            f"Made by older code: {elements.escape(', '.join(changed))} changed since.", icon=":material/history:"
        )
    if chosen == CURVES:
        _curves(address, state)
    else:
        of_trial = {ATTEMPTS: attempts.attempts, LOG: attempts.log, PROVENANCE: attempts.provenance}
        of_address = {PICTURES: _pictures, CONFIG: _config, CODE: _code}
        of_trial[chosen](address.trial) if chosen in of_trial else of_address[chosen](address)


def _changed_code(address: _Address) -> list[str]:
    """The names of the user's code that mean other code in the newest plan of the sweep that the address names."""
    sweep = elements.query_value("sweep")
    if not sweep or address.sweep:  # the newest plan has this trial
        return []
    newest = stored_plans.user_code(current().reader.plan(current().reader.check(sweep)))
    mine: dict[str, str] = address.body["config"].get("user_code") or {}
    return [written for written, code in mine.items() if newest.get(written, code) != code]


def _error(error: dict[str, Any], config: dict[str, Any], own: Collection[str]) -> None:
    """The error of a failed trial, what to do, and the losses that led to it. own: the keys that its arm sets."""
    with st.container(border=True):
        first, *rest = failures.text(error).splitlines()
        st.markdown(f":red[**{elements.escape(first)}**]")
        if rest:
            st.text("\n".join(rest))
        elif fix := failures.advice(error, config, own):
            st.markdown(elements.escape(fix))
        trace = error.get("trace") or {}
        if trace.get("steps"):
            figure = curves.trace_figure(trace, elements.is_dark())
            st.plotly_chart(figure, key="trace_figure", theme=None, config=curves.CONFIG)
            bad = failures.not_finite(trace)
            words = f"Not finite in the last step: {', '.join(bad)}. " if bad else ""
            elements.note(f"{words}Loss terms of epoch {trace.get('epoch')} by step, up to the divergence.")
        if error.get("traceback"):
            with st.expander("Where in the code"):
                st.code(str(error["traceback"]), language=None, wrap_lines=True)


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
    st.dataframe(table, hide_index=True, height=elements.table_height(len(table)))


def _pictures(address: _Address) -> None:
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
    strips = samples.strips(reader.store, epochs[epoch])
    sheet = samples.sample_sheet(strips)
    if sheet is None:
        elements.empty_state("Pictures are missing", "Some of them were deleted from the store.")
        return
    st.image(sheet, alt=f"evaluation images after epoch {epoch}")
    legend = f" {picture_grid.BOXES}" if "found" in strips else ""
    elements.note(
        f"After epoch {epoch}. Rows from the top: {', '.join(samples.rows(strips))}. "
        f"All epochs have the same images and masks.{legend}"
    )
    worst = samples.strips(reader.store, epochs[epoch], worst=True)
    if sheet := samples.sample_sheet(worst, ranked=True):
        elements.heading("Worst test images")
        st.image(sheet, alt=f"the worst test images after epoch {epoch}")
        elements.note(f"Worst first. Rows from the top: {', '.join(samples.rows(worst))}.")


def _config(address: _Address) -> None:
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


def _code(address: _Address) -> None:
    """The files of the user that the trial ran, as the store keeps them; nothing is executed."""
    code.files(address.body["config"])
