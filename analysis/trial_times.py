"""How long the finished trials of a study took."""

from __future__ import annotations

from analysis.study import Study
from sweeps.results import columns as record_columns


def trial_seconds(study: Study) -> dict[tuple[str, int], float]:
    """Duration of each finished trial: the sum over its epochs, or that of its last attempt if epochs are not timed."""
    epochs = _epoch_seconds(study)
    durations = {}
    for key, result in study.results.items():
        began, ended = result.get("started_at"), result.get("ended_at")
        if epochs.get(key[0]):
            durations[key] = epochs[key[0]]
        elif began is not None and ended is not None:
            durations[key] = float(ended - began)
    return durations


def _epoch_seconds(study: Study) -> dict[str, float]:
    rows = study.records
    if record_columns.TIME_S not in rows.columns:
        return {}
    once = rows.drop_duplicates(["trial", record_columns.EPOCH])
    return {str(trial): float(seconds) for trial, seconds in once.groupby("trial")[record_columns.TIME_S].sum().items()}
