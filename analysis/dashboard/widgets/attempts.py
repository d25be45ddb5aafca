"""What happened to a trial: its attempts, their logs, and where its numbers come from."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.dashboard.context import current
from analysis.dashboard.widgets import configuration, elements
from sweeps.results import columns as record_columns
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout

_LOG_LINES = 100
_RAY_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/[\w./-]*)?")
"""The address that Ray gave when the trial ran; a store may hold anything."""
_RAY_JOB = re.compile(r"[0-9a-f]{4,64}")


def attempts(trial: str) -> None:
    """Every attempt with its times, host, checkpoints, and full error."""
    store = current().reader.store
    saved = checkpoints.checkpoints(store, trial)
    found = stored_attempts.attempts(store, trial)
    if not found:
        elements.empty_state("No attempt yet", "This trial has not been started.")
        return
    keys = [key for a in found for key in (a.key("attempts", f"{a.number:04d}.json"), a.end_key, a.beat_key)]
    bodies = layout.intact(store.get_many(keys))
    results = current().reader.results(trial)
    rows, errors = [], []
    for attempt in found:
        claim = bodies.get(attempt.key("attempts", f"{attempt.number:04d}.json"), {})
        end, beat = bodies.get(attempt.end_key), bodies.get(attempt.beat_key, {})
        saved_at = [epoch for name, epoch in saved if name == attempt.name]
        done_at = [epoch for epoch, result in results.items() if result.get("attempt") == attempt.name]
        ended = end["ended_at"] if end and end.get("ended_at") else None
        rows.append(
            {
                "attempt": attempt.number,
                "began, UTC": elements.format_time(claim.get("claimed_at")),
                "ended, UTC": elements.format_time(ended),
                "state": end["state"] if end else "not ended",
                "epoch": max([beat.get("epoch") or 0, *saved_at, *done_at]),
                "host": claim.get("provenance", {}).get("hardware", {}).get("host", ""),
                "checkpoints": ", ".join(map(str, saved_at)),
                "last heartbeat": elements.time_ago(beat.get("time")),
            }
        )
        if end and end.get("error"):
            errors.append((attempt, end["error"]))
    st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–")
    for attempt, error in reversed(errors):
        with st.expander(f"Attempt {attempt.number}: {elements.escape(error.get('type', 'error'))}"):
            st.text(str(error.get("message", "")))
            st.code(str(error.get("full") or error.get("traceback") or ""), language=None, wrap_lines=True)
    for result in results.values():
        for note in result.get("notes", []):
            elements.note(note)


def log(trial: str) -> None:
    """The log of an attempt, by default of the newest."""
    store = current().reader.store
    names = {attempt.name: attempt for attempt in reversed(stored_attempts.attempts(store, trial))}
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
    name = f"{trial}-{chosen.name}.txt"
    st.download_button("Whole log", text, name, "text/plain", icon=":material/download:", on_click="ignore")
    elements.note(
        "Times are UTC. The log has checkpoints, warnings, stops and errors, but not what the program printed."
    )


def provenance(trial: str) -> None:
    """Code, versions, hardware and speed, from the result, else from the newest attempt."""
    reader = current().reader
    results = reader.results(trial)
    facts: dict[str, Any] = {}
    if results:
        result = results[max(results)]
        took = (result.get("ended_at") or 0) - (result.get("started_at") or 0)
        measured = {
            f"measured later, by {one['attempt']}": ", ".join(one["columns"]) for one in result.get("measured", ())
        }
        facts = {
            **(measured or {"attempt": result.get("attempt")}),
            "took": wording.duration(took),
            **result.get("facts", {}),
            **result.get("provenance", {}),
        }
        speeds = [s for s in result["history"].get(record_columns.IMAGES_PER_S, []) if s]
        if speeds:
            facts["training speed, median"] = f"{sorted(speeds)[len(speeds) // 2]:,.0f} images/s"
    else:
        newest = stored_attempts.newest_attempt(reader.store, trial)
        claim = newest and layout.get_intact(reader.store, newest.key("attempts", f"{newest.number:04d}.json"))
        facts = dict((claim or {}).get("provenance", {}))
    if not facts:
        elements.empty_state("No provenance yet", "It is written when the trial is started.")
        return
    words = pd.DataFrame(configuration.flatten_to_text(facts).items(), columns=["fact", "value"])
    st.dataframe(words, hide_index=True, height=elements.table_height(len(words)))
    stored, job = str(facts.get("ray_dashboard", "")), str(facts.get("ray_job", ""))
    given = stored if _RAY_ADDRESS.fullmatch(stored) else current().settings.ray
    if given and _RAY_JOB.fullmatch(job):
        st.link_button("Ray: its job", f"{given}/#/jobs/{job}", icon=":material/open_in_new:")
    elif given:
        st.link_button("Ray: jobs", f"{given}/#/jobs", icon=":material/open_in_new:")
