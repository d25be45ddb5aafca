"""Buttons that act on a sweep: each opens a dialog that describes the action, then starts a child process."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from analysis import wording
from analysis.dashboard.auth import access
from analysis.dashboard.context import ServerState, current
from analysis.dashboard.settings import DashboardSettings
from analysis.dashboard.widgets import elements
from sweeps.errors import SweepError
from sweeps.results.progress import EXTENDED

OPEN = ("interrupted", EXTENDED, "damaged", "queued")
"""States that Resume continues."""
_MOST_SEEDS = 100
_CHILDREN = 2
"""Maximum number of commands whose output is shown."""


@dataclass(frozen=True)
class Action:
    """A command that a button starts after a confirmation."""

    label: str
    """Label of the button."""
    description: str
    """What will happen, as sentences."""
    arguments: tuple[str, ...]
    """Arguments of `sweeps`."""
    icon: str = ""


def disabled_reason(shared: ServerState) -> str:
    """Why buttons are disabled; '' if they are enabled."""
    if not shared.reader.writable:
        return "The dashboard may only read the store, so it cannot start or stop anything."
    return ""


def button_row(name: str, states: Counter[str], searching: bool) -> None:
    """The buttons of a sweep. states: number of trials by state; searching: whether a search has not ended."""
    shared = current()
    off = disabled_reason(shared)
    busy = next((child for child in shared.children.of(name) if child.running and _runs(child.command)), None)
    left = sum(states[state] for state in OPEN) + searching
    running = states["running"] or busy
    with st.container(horizontal=True, key="actions"):
        _button(
            "Resume",
            ":material/play_arrow:",
            off or _why_not_resume(left, bool(running)),
            lambda: _resume(name, states, searching),
        )
        _button(
            "Retry failed",
            ":material/replay:",
            off or ("No trial has failed." if not states["failed"] else _why_busy(bool(running))),
            lambda: _retry(name, states),
        )
        _button(
            "Stop",
            ":material/stop:",
            off or ("" if running or searching else "Nothing is running."),
            lambda: _stop(name, states),
        )
        _button("Add seeds", ":material/add:", off or _why_busy(bool(running)), lambda: _add(name))
    if off:
        elements.note(off)


def _runs(command: Sequence[str]) -> bool:
    return command[1] in ("run", "resume")


def _why_not_resume(left: int, running: bool) -> str:
    return _why_busy(running) or ("" if left else "Every trial has ended. To run failed ones again, use Retry failed.")


def _why_busy(running: bool) -> str:
    return "The sweep is already running." if running else ""


def _button(label: str, icon: str, off: str, press: object) -> None:
    help_ = off or None
    if st.button(label, icon=icon, disabled=bool(off), help=help_, key=f"do_{label}") and callable(press):
        press()


# --- actions ----------------------------------------------------------------------------------------------------------


def _resume(name: str, states: Counter[str], searching: bool) -> None:
    waiting = [f"{states[s]} {s}" for s in OPEN if states[s]]
    trials = "trial" if sum(states[s] for s in OPEN) == 1 else "trials"
    what = [f"{wording.listing(waiting)} {trials}"] if waiting else []
    what += ["the rest of the search"] if searching else []
    description = (
        f"Runs {wording.listing(what)} {_where()}. Interrupted trials continue from their last checkpoint; "
        "finished and failed trials are not run again."
    )
    confirm(name, Action("Resume", description, _arguments("resume", name)))


def _retry(name: str, states: Counter[str]) -> None:
    failed = wording.count(states["failed"], "failed trial")
    description = (
        f"Runs {failed} and all other unfinished trials {_where()}. Configurations do not change, so "
        "a trial that diverged may diverge again. Finished trials are not run again."
    )
    confirm(name, Action("Retry failed", description, (*_arguments("resume", name), "--retry")))


def _stop(name: str, states: Counter[str]) -> None:
    running = wording.count(states["running"], "trial")
    description = (
        f"{running} running: each saves a checkpoint after the current epoch and ends, then the drivers of this sweep "
        "end, on whatever machine they run. Nothing is lost: Resume continues from there."
    )
    shared = current()
    confirm(name, Action("Stop", description, ("stop", name, "--store", shared.settings.store)))


def stop_trial(name: str, trial: str, label: str) -> None:
    description = f"“{label}” saves a checkpoint after the current epoch and ends. The other trials go on."
    confirm(
        name,
        Action("Stop this trial", description, ("stop", name, "--trial", trial, "--store", current().settings.store)),
    )


@st.dialog("Add seeds", width="medium")
def _add(name: str) -> None:
    seeds = [int(seed) for seed in current().reader.plan(name)["seeds"]]
    arms = len(current().reader.plan(name)["arms"])
    more = st.number_input("Number of additional seeds", 1, _MOST_SEEDS, 1, key="more_seeds")
    wanted = [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + int(more))]
    given = str(len(wanted)) if wanted == list(range(len(wanted))) else f"[{', '.join(map(str, wanted))}]"
    new = wording.listing(map(str, wanted[len(seeds) :]))
    description = (
        f"Runs {wording.count(arms, 'arm')} with {'seed' if more == 1 else 'seeds'} {new} too, {_where()}."
        " A new plan is stored; finished trials are not run again."
    )
    _confirmed(name, Action("Add seeds", description, (*_arguments("resume", name), "--set", f"seeds={given}")))


def arguments(given: DashboardSettings, verb: str, name: str) -> tuple[str, ...]:
    """Arguments of `sweeps` for a verb that runs a sweep, with the dashboard's store, data folder and address."""
    found = [verb, name, "--store", given.store]
    found += ["--data", given.data] if given.data else []
    found += ["--address", given.address] if given.address else []
    return tuple(found)


def _arguments(verb: str, name: str) -> tuple[str, ...]:
    return arguments(current().settings, verb, name)


def _where() -> str:
    address = current().settings.address
    return "on this machine" if address in (None, "local", "in-process") else f"on the Ray cluster at {address}"


# --- confirmation -----------------------------------------------------------------------------------------------------


def confirm(name: str, action: Action) -> None:
    """Start an action after a confirmation in a dialog."""
    st.dialog(action.label, width="medium")(lambda: _confirmed(name, action))()


def _confirmed(name: str, action: Action) -> None:
    shared = current()
    st.markdown(elements.escape(action.description))
    st.code(shlex.join(("sweeps", *action.arguments)), language="sh", wrap_lines=True)
    if not access.may_act(shared.settings):
        elements.note("To start or stop something, this session needs the token that `sweeps dashboard` printed.")
        access.show_login_form(
            shared.settings, "It is part of the address that the command printed when it was started."
        )
        return
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="cancel"):
            st.rerun()
        if st.button(action.label, type="primary", key="confirm"):
            start(name, action)
            st.rerun()


def check_allowed(what: str) -> None:
    """Raise SweepError if this session has not shown the token, or the store is read-only."""
    shared = current()
    if not access.may_act(shared.settings) or disabled_reason(shared):
        raise SweepError(
            what,
            disabled_reason(shared) or "this session has not entered the token",
            "a session with the token",
            "enter the token",
        )


def start(name: str, action: Action) -> None:
    """Start the command. Raises SweepError without the token, or if the store is read-only."""
    check_allowed(f"button {action.label!r}")
    shared = current()
    shared.children.start(name, action.label, action.arguments)
    shared.reader.forget()


def show_outcome(name: str) -> None:
    """State and output of the newest commands that were started for a sweep."""
    for child in current().children.of(name)[:_CHILDREN]:
        output, code = child.output(), child.code
        if code is None:
            words = f"{child.label}: started {elements.time_ago(child.began)}, still running"
        else:
            ended = {0: "done", 1: "ended; some trials failed or are missing"}.get(code)
            words = f"{child.label}: {ended or f'ended with code {code}'}"
        with st.expander(elements.escape(words), expanded=code not in (None, 0, 1), icon=":material/terminal:"):
            st.code(f"$ {shlex.join(child.command)}\n{output}", language=None, wrap_lines=True)
