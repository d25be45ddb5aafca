"""How long a running sweep will still take, and how busy its trials keep their machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from analysis.study import Study
from sweeps.results import columns as record_columns
from sweeps.results.progress import TrialState

SILENT_S = 8.0
"""Seconds without a heartbeat, of which one is due every 5 s, after which a running trial is displayed as silent."""
_OPEN = ("running", "interrupted", "damaged", "queued")


def seconds(study: Study, states: Mapping[str, TrialState]) -> float | None:
    """Seconds until the open trials are done if as many run at once as now; None while no epoch has been timed.

    An arm without a finished trial takes as long per epoch as its running trials report, otherwise as the other arms.
    """
    times = record_columns.TIME_S
    known: dict[str, list[float]] = {}
    if times in study.records:
        known = {str(arm): rows[times].dropna().tolist() for arm, rows in study.records.groupby("arm")}
    left: dict[tuple[str, int], tuple[str, int]] = {}
    running = set()
    for cell in study.cells:
        state = states.get(cell.trial, cell.progress)
        if state.at(cell.epochs) in _OPEN and study.arm(cell.arm).trains:
            left[cell.trial, cell.epochs] = (cell.arm, max(0, cell.epochs - (state.epoch or 0)))
            if state.at(cell.epochs) == "running":
                running.add(cell.trial)
            if value := state.record.get(times):
                known.setdefault(cell.arm, []).append(float(value))
    trained = [value for arm, values in known.items() if study.arm(arm).trains for value in values]
    if not trained or not running:
        return None
    pace = {arm: fmean(known.get(arm) or trained) for arm, _ in left.values()}
    return sum(pace[arm] * epochs for arm, epochs in left.values()) / len(running)


def load_words(states: Iterable[TrialState]) -> str:
    """The load of running trials, from their newest heartbeats: a sentence, or '' if none has told it."""
    loads = [state.load for state in states if state.load]
    if not loads:
        return ""
    cpus = sum(load.get("cpus", 0.0) for load in loads)
    words = [f"{cpus:.1f} CPUs"]
    for name, label in (("gpu", "of the GPU's time"), ("gpu_memory", "of the GPU's memory")):
        if shares := [load[name] for load in loads if name in load]:
            each = " each, on average," if len(shares) > 1 else ""
            words.append(f"{100 * fmean(shares):.0f} %{each} {label}")
    return f"In use by {'the running trial' if len(loads) == 1 else 'running trials'}: {', '.join(words)}."
