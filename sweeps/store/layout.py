"""The keys of a store and how JSON is stored. Every object has one writer.

| key | content |
| --- | --- |
| `trials/<id>/trial.json` | task, configuration, seed; created once |
| `trials/<id>/attempts/<n>.json` | a claim, created once; `n` counts up, so the newest attempt has the highest number |
| `.../attempts/<n>-<token>.beat.json` | heartbeat of the attempt: time, epoch, last record (for display) |
| `.../attempts/<n>-<token>.end.json` | how the attempt ended, with the error if it failed |
| `.../log/<n>-<token>.txt` | log of the attempt: lines with times (for display) |
| `.../checkpoint/<n>-<token>/<epoch>/` | files, then `manifest.json` with their checksums and the JSON files |
| `.../samples/<n>-<token>/<epoch>/` | the same evaluation images for every arm, as PNG; at the end the scores of each |
| `.../result/<epoch>.json` | the result for a target epoch, with the name of its attempt; created once |
| `code/<hash>/`, `code/<hash>.json` | the code of users that trials ran, see `sweeps.store.code` |
| `modules/<digest>.json` | hashes of the modules of this package that trials ran, see `cluster.worker.stale_code` |
| `fingerprints/<digest>.json` | the files of data that trials read, see `sweeps.results.data_versions` |
| `sweeps/<name>/data/<n>.json` | the versions of its data that a sweep has used, in their order |
| `sweeps/<name>/plans/<n>.json` | a plan with the text of its sweep file; created once |
| `sweeps/<name>/search/`, `pruned/<trial id>.json` | see `sweeps.search.search` and `sweeps.search.arm_search` |
| `sweeps/<name>/records.parquet` | a copy of finished records, see `sweeps.store.record_cache` |
| `sweeps/<name>/pictures/<id>/<epochs>-<images>/` | of `report --redraw`, see `analysis.report.sections.images` |
| `sweeps/<name>/stops/<token>-<run>.json` | requests to stop all runs, one run, or one trial after the current epoch |
| `sweeps/<name>/fresh.json` | an unfinished run with `--fresh`, see `cluster.driver.fresh_run` |
| `sweeps/<name>/summary.json` | best arm, cost and counts of a sweep, see `analysis.dashboard.data.summaries` |
"""

from __future__ import annotations

import json
from typing import Any

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store.base import Store, check_key

Json = dict[str, Any]


def dump(value: Any) -> bytes:
    """Encode a value as stored JSON: one line, keys in the given order. Refuses NaN; callers use None."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def load(key: str, data: bytes) -> Any:
    """Decode the JSON of an object. StoreError, with its key, if it is damaged or has a newer schema."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise StoreError(
            f"object {key!r}",
            f"it is damaged ({error})",
            "JSON as written by inpaint-sweeps",
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
    """The JSON under a key; None if there is no object."""
    try:
        return load(key, store.get(key))
    except KeyError:
        return None


def join(*parts: str | int) -> str:
    """A key from its parts. StoreError for a part that is not one name, such as `../x` in place of an id."""
    names = [str(part) for part in parts]
    for name in names:
        if "/" in check_key(name):
            raise StoreError(
                f"name {name[:200]!r} in a store",
                "it is a path, which could name another object than it should",
                "a name without '/'",
                "do not use this store, or restore the object that holds this name from a copy",
            )
    return "/".join(names)


def trial_key(trial_id: str) -> str:
    return join("trials", trial_id, "trial.json")


def result_key(trial_id: str, epochs: int) -> str:
    return join("trials", trial_id, "result", f"{epochs}.json")


def fresh_key(name: str) -> str:
    return f"sweeps/{name}/fresh.json"


def summary_key(name: str) -> str:
    return join("sweeps", name, "summary.json")
