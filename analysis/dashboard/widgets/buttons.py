"""What can be done to a sweep: a button, a dialog that says what will happen, the command in a child process."""

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

_MOST_SEEDS = 100
_CHILDREN = 2
"""Commands that are told of."""


@dataclass(frozen=True)
class Action:
    """Something to do. words: on its button; says: what will happen, as sentences; arguments: of `sweeps`."""

    words: str
    says: str
    arguments: tuple[str, ...]
    icon: str = ""


def disabled_reason(shared: ServerState) -> str:
    """Why nothing can be started or stopped here, '' where it can."""
    if not shared.reader.writable:
        return "This process may only read the store, so nothing can be started or stopped here."
    return ""


def button_row(name: str, states: Counter[str], searching: bool) -> None:
    """The buttons of a sweep, for how its trials stand. searching: whether a search of it is not over."""
    shared = current()
    off = disabled_reason(shared)
    busy = next((child for child in shared.children.of(name) if child.running and _runs(child.command)), None)
    left = states["interrupted"] + states["queued"] + searching
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
            off or ("" if running or searching else "Nothing runs."),
            lambda: _stop(name, states),
        )
        _button("Add seeds", ":material/add:", off or _why_busy(bool(running)), lambda: _add(name))
    if off:
        elements.note(off)


def _runs(command: Sequence[str]) -> bool:
    return command[1] in ("run", "resume")


def _why_not_resume(left: int, running: bool) -> str:
    return _why_busy(running) or ("" if left else "Every trial has ended; failed ones have a button of their own.")


def _why_busy(running: bool) -> str:
    return "The sweep runs already." if running else ""


def _button(words: str, icon: str, off: str, press: object) -> None:
    help_ = off or None
    if st.button(words, icon=icon, disabled=bool(off), help=help_, key=f"do_{words}") and callable(press):
        press()


# --- what each does ---------------------------------------------------------------------------------------------------


def _resume(name: str, states: Counter[str], searching: bool) -> None:
    waiting = [f"{states[s]} {s}" for s in ("interrupted", "queued") if states[s]]
    trials = "trial" if states["interrupted"] + states["queued"] == 1 else "trials"
    what = [f"{wording.listing(waiting)} {trials}"] if waiting else []
    what += ["what is left of the search"] if searching else []
    says = (
        f"{wording.listing(what)} to run, {_where()}. Interrupted ones go on from their last checkpoint; "
        "finished ones are not run again, failed ones are left alone."
    )
    confirm(name, Action("Resume", says, _arguments("resume", name)))


def _retry(name: str, states: Counter[str]) -> None:
    failed = wording.count(states["failed"], "failed trial")
    says = (
        f"{failed} to run again, {_where()}, with whatever else is not done, in the same "
        "configuration: a trial that diverged may diverge again. Finished trials are not run again."
    )
    confirm(name, Action("Retry failed", says, (*_arguments("resume", name), "--retry")))


def _stop(name: str, states: Counter[str]) -> None:
    running = wording.count(states["running"], "trial")
    says = (
        f"{running} running: each saves a checkpoint after the epoch at hand and ends, then the drivers of this sweep "
        "end, wherever they run. Nothing is lost: Resume goes on from there."
    )
    shared = current()
    confirm(name, Action("Stop", says, ("stop", name, "--store", shared.settings.store)))


def stop_trial(name: str, trial: str, label: str) -> None:
    says = f"“{label}” saves a checkpoint after the epoch at hand and ends. The sweep's other trials go on."
    confirm(
        name, Action("Stop this trial", says, ("stop", name, "--trial", trial, "--store", current().settings.store))
    )


@st.dialog("Add seeds", width="medium")
def _add(name: str) -> None:
    seeds = [int(seed) for seed in current().reader.plan(name)["seeds"]]
    arms = len(current().reader.plan(name)["arms"])
    more = st.number_input("How many more", 1, _MOST_SEEDS, 1, key="more_seeds")
    wanted = [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + int(more))]
    given = str(len(wanted)) if wanted == list(range(len(wanted))) else f"[{', '.join(map(str, wanted))}]"
    new = wording.listing(map(str, wanted[len(seeds) :]))
    says = (
        f"Each of the {wording.count(arms, 'arm')} runs with {'seed' if more == 1 else 'seeds'} {new} too, {_where()}."
        " The plan is stored anew; finished trials are not run again."
    )
    _confirmed(name, Action("Add seeds", says, (*_arguments("resume", name), "--set", f"seeds={given}")))


def arguments(given: DashboardSettings, verb: str, name: str) -> tuple[str, ...]:
    """Of `sweeps`, for a verb that runs a sweep where the dashboard was told to."""
    found = [verb, name, "--store", given.store]
    found += ["--data", given.data] if given.data else []
    found += ["--address", given.address] if given.address else []
    return tuple(found)


def _arguments(verb: str, name: str) -> tuple[str, ...]:
    return arguments(current().settings, verb, name)


def _where() -> str:
    address = current().settings.address
    return "on this machine" if address in (None, "local", "in-process") else f"on the Ray at {address}"


# --- confirming -------------------------------------------------------------------------------------------------------


def confirm(name: str, action: Action) -> None:
    """Ask in a dialog, then start."""
    st.dialog(action.words, width="medium")(lambda: _confirmed(name, action))()


def _confirmed(name: str, action: Action) -> None:
    shared = current()
    st.markdown(elements.escape(action.says))
    st.code(shlex.join(("sweeps", *action.arguments)), language="sh", wrap_lines=True)
    if not access.may_act(shared.settings):
        elements.note("To start or stop something this session needs the token that `sweeps dashboard` printed.")
        access.show_login_form(
            shared.settings, "It stands in the address that the command printed when it was started."
        )
        return
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="cancel"):
            st.rerun()
        if st.button(action.words, type="primary", key="confirm"):
            start(name, action)
            st.rerun()


def start(name: str, action: Action) -> None:
    """Start the command; refused without the token, or where this process may only read."""
    shared = current()
    if not access.may_act(shared.settings) or disabled_reason(shared):
        raise SweepError(
            f"button {action.words!r}",
            disabled_reason(shared) or "this session has not shown the token",
            "a session that has",
            "enter it",
        )
    shared.children.start(name, action.words, action.arguments)
    shared.reader.forget()


def show_outcome(name: str) -> None:
    """What the newest children that were started for a sweep do, or how they ended, with what they said."""
    for child in current().children.of(name)[:_CHILDREN]:
        said, code = child.output(), child.code
        if code is None:
            words = f"{child.words}: started {elements.time_ago(child.began)}, goes on"
        else:
            ended = {0: "done", 1: "ended, and some trials are failed or missing"}.get(code)
            words = f"{child.words}: {ended or f'ended with code {code}'}"
        with st.expander(elements.escape(words), expanded=code not in (None, 0, 1), icon=":material/terminal:"):
            st.code(f"$ {shlex.join(child.command)}\n{said}", language=None, wrap_lines=True)
