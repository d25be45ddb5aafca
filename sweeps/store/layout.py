"""What lies where in a store, and who may write it. Every object has one writer.

| key | what |
| --- | --- |
| `trials/<id>/trial.json` | task, configuration, seed: created once |
| `trials/<id>/attempts/<n>.json` | a claim, created once; `n` counts up, so the newest is the highest |
| `.../attempts/<n>-<token>.beat.json` | the claim's heartbeat: time, epoch, last record (for the eye) |
| `.../attempts/<n>-<token>.end.json` | how the attempt ended, with the error if it failed |
| `.../log/<n>-<token>.txt` | what happened in the attempt, as lines with times (for the eye) |
| `.../checkpoint/<n>-<token>/<epoch>/` | files, then `manifest.json` with their sums, and the JSON ones |
| `.../samples/<n>-<token>/<epoch>/` | the same evaluation images for every arm, as PNG; at the end each one's values |
| `.../result/<epoch>.json` | created once for a target epoch, names its attempt |
| `sweeps/<name>/plans/<n>.json` | the file and the plan as they were, created once each |
| `sweeps/<name>/search/`, `pruned/<trial id>.json` | see `sweeps.search.search` and `sweeps.search.arm_search` |
| `sweeps/<name>/records.parquet` | a copy of finished records, see `sweeps.store.record_cache` |
| `sweeps/<name>/pictures/<id>/<epochs>-<images>/` | of `report --redraw`, see `analysis.report.sections.images` |
| `sweeps/<name>/stops/<token>-<run>.json` | requests to end after the epochs at hand: of all, a run, or a trial |
| `sweeps/<name>/summary.json` | best arm, cost and counts of a sweep, see `analysis.dashboard.data.summaries` |
"""

from __future__ import annotations

import json
from typing import Any

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store.base import Store

Json = dict[str, Any]


def dump(value: Any) -> bytes:
    """JSON as it is stored: one line, keys in the order given, no NaN (None stands for it)."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def load(key: str, data: bytes) -> Any:
    """The JSON of an object; a StoreError names the object when it is damaged or of a newer schema."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise StoreError(
            f"object {key!r}",
            f"it is damaged ({error})",
            "JSON as this system wrote it",
            "restore it from a copy, or delete the trial's folder and run the sweep again",
        ) from error
    if isinstance(value, dict) and value.get("schema", SCHEMA) > SCHEMA:
        raise StoreError(
            f"object {key!r}",
            f"it was written with schema {value['schema']}",
            f"schema {SCHEMA} or older",
            "install the newer inpaint-sweeps that wrote this store",
        )
    return value


def get_json(store: Store, key: str) -> Any | None:
    """The JSON under a key, or None where there is no object."""
    try:
        return load(key, store.get(key))
    except KeyError:
        return None


def trial_key(trial_id: str) -> str:
    return f"trials/{trial_id}/trial.json"


def result_key(trial_id: str, epochs: int) -> str:
    return f"trials/{trial_id}/result/{epochs}.json"


def summary_key(name: str) -> str:
    return f"sweeps/{name}/summary.json"
