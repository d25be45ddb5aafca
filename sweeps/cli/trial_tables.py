"""Everything about one trial, for `sweeps show`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from sweeps.cli import console
from sweeps.results import failures
from sweeps.results.older_code import without_hash
from sweeps.spec.dependencies import pinned_by
from sweeps.spec.plan import flatten
from sweeps.store import attempts as stored_attempts
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

_LOG_LINES = 30
"""Last lines of a log that are printed."""
_TRACE_STEPS = 10
"""Last steps before a divergence that are printed."""


def print_trial(store: Store, trial_id: str) -> None:
    """Everything about one trial: configuration, attempts, log, records, provenance."""
    out = console.console()
    body = stored_trials.read_trial(store, trial_id)
    facts = f"task {without_hash(body['task'])}, seed {body['seed']}"
    out.print(Text(f"trial {trial_id}", style="bold"), Text(facts, style="dim"))
    configuration = console.make_table("key", "value")
    for key, value in flatten(body["config"]).items():
        configuration.add_row(key, Text(console.format_value(value)))
    console.show(configuration)
    for name, key in pinned_by(store, trial_id):
        out.print(Text(f"sweep {name} uses it as {key}"))
    _attempts(store, trial_id, body["config"], out)
    _log(store, trial_id, out)
    for epochs in stored_trials.finished_epochs(store, trial_id):
        key = layout.result_key(trial_id, epochs)
        result = layout.get_intact(store, key)
        if result is None:
            out.print(Text(f"{key} is damaged", style="red"))
        else:
            _result({"epochs": epochs, "attempt": "?", **result}, out)


def _attempts(store: Store, trial_id: str, config: Mapping[str, Any], out: Console) -> None:
    table = console.make_table("attempt", "began", "on", "ended", "checkpoints")
    saved = checkpoints.checkpoints(store, trial_id)
    errors = []
    for attempt in stored_attempts.attempts(store, trial_id):
        claim = layout.get_intact(store, attempt.key("attempts", f"{attempt.number:04d}.json")) or {}
        end = {"state": "-", "error": None} | (layout.get_intact(store, attempt.end_key) or {})
        host = claim.get("provenance", {}).get("hardware", {}).get("host", "?")
        epochs = ", ".join(str(epoch) for name, epoch in saved if name == attempt.name)
        table.add_row(attempt.name, _moment(claim.get("claimed_at")), host, end["state"], epochs)
        if end["error"]:
            errors.append((attempt.name, end["error"]))
    console.show(table)
    for name, error in errors:
        out.print(Text(f"{name}: {failures.text(error)}\n{error.get('traceback', '')}", style="red"))
    if errors:
        _why(errors[-1][1], config, out)


def _why(error: Mapping[str, Any], config: Mapping[str, Any], out: Console) -> None:
    """What to do about the newest error, and the losses before a divergence."""
    trace = error.get("trace") or {}
    head, rows = failures.last_steps(trace, _TRACE_STEPS)
    if rows:
        out.print(Text(f"loss terms of epoch {trace.get('epoch')} up to the divergence", style="bold"))
        table = console.make_table(*head)
        for row in rows:
            table.add_row(*row)
        console.show(table)
    if fix := failures.advice(error, config):
        out.print(Text(fix))


def _log(store: Store, trial_id: str, out: Console) -> None:
    """The end of the log of the newest attempt."""
    attempt = stored_attempts.newest_attempt(store, trial_id)
    lines = stored_attempts.read_log(store, attempt).splitlines() if attempt else []
    if attempt and lines:
        rest = f"the last {_LOG_LINES} of {len(lines)} lines" if len(lines) > _LOG_LINES else ""
        out.print(Text(f"log of attempt {attempt.name}", style="bold"), Text(rest, style="dim"))
        out.print(Text("\n".join(lines[-_LOG_LINES:])))


def _moment(seconds: float | None) -> str:
    return "?" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _result(result: dict[str, Any], out: Console) -> None:
    history = result["history"]
    last = {name: values[-1] for name, values in history.items()}
    minutes = ((result.get("ended_at") or 0) - (result.get("started_at") or 0)) / 60
    out.print(
        Text(f"result at epoch {result['epochs']}", style="bold"), f"{minutes:.1f} min, attempt {result['attempt']}"
    )
    for note in result.get("notes", []):
        out.print(Text(note, style="dim"))
    for later in (one for one in result.get("measured", []) if one["columns"]):
        out.print(Text(f"{', '.join(later['columns'])}: measured later, by attempt {later['attempt']}", style="dim"))
    records = console.make_table("epoch", *(name for name in _metrics(history)))
    for row in _thinned(len(history["epoch"])):
        cells = (history[name][row] for name in _metrics(history))
        records.add_row(str(history["epoch"][row]), *("" if cell is None else f"{cell:.5g}" for cell in cells))
    console.show(records)
    final = console.make_table("column", "at the end")
    for name, value in last.items():
        final.add_row(name, "" if value is None else f"{value:.6g}")
    console.show(final)
    provenance = console.make_table("provenance", "")
    for key, value in flatten({**result.get("facts", {}), **result.get("provenance", {})}).items():
        provenance.add_row(key, Text(console.format_value(value)))
    console.show(provenance)


def _metrics(history: dict[str, Any]) -> list[str]:
    wanted = ("train/loss", "val/psnr_db", "val/l2", "test/psnr_db", "sys/time_s", "sys/images_per_s")
    return [name for name in wanted if name in history]


def _thinned(rows: int, most: int = 20) -> list[int]:
    """Rows to print: all of a short history, otherwise evenly spaced rows and the last one."""
    if rows <= most:
        return list(range(rows))
    return sorted({round(i * (rows - 1) / (most - 1)) for i in range(most)})
