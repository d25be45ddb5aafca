"""The keys of a store and how JSON is stored. Every object has one writer.

A stored JSON object ends with the field `checksum`, the SHA-256 of the object without that field. `load` checks it and
then the shape of the object (`sweeps.store.shapes`). Objects of older versions have no checksum and are still read.

| key | content |
| --- | --- |
| `trials/<id>/trial.json` | task, configuration, seed; created once |
| `trials/<id>/attempts/<n>.json` | a claim, created once; `n` counts up, so the newest attempt has the highest number |
| `.../attempts/<n>-<token>.beat.json` | heartbeat of the attempt: time, epoch, last record, load (for display) |
| `.../attempts/<n>-<token>.end.json` | how the attempt ended; its error, with the losses before a divergence |
| `.../log/<n>-<token>.txt` | log of the attempt: lines with times (for display) |
| `.../checkpoint/<n>-<token>/<epoch>/` | files, then `manifest.json` with their checksums and the JSON files |
| `.../samples/<n>-<token>/<epoch>/` | images, the same in every arm, see `sweeps.results.samples`; at last the scores |
| `.../result/<epoch>.json` | the result for a target epoch; created once, later replaced only to add metrics |
| `code/<hash>/`, `code/<hash>.json` | the code of users that trials ran, see `sweeps.store.code` |
| `modules/<digest>.json` | hashes of the modules of this package that trials ran, see `cluster.worker.stale_code` |
| `fingerprints/<digest>.json` | the files of data that trials read, see `sweeps.results.data_versions` |
| `sweeps/<name>/data/<n>.json` | the versions of its data that a sweep has used, in their order |
| `sweeps/<name>/leaks.json` | photographs in two splits of its data, by trials, see `sweeps.results.leaks` |
| `sweeps/<name>/plans/<n>.json` | a plan with the text of its sweep file; created once |
| `sweeps/<name>/search/`, `pruned/<trial id>.json` | see `sweeps.search.search` and `sweeps.search.arm_search` |
| `sweeps/<name>/records.parquet` | a copy of finished records, see `sweeps.store.record_cache` |
| `sweeps/<name>/pictures/<id>/<epochs>-<images>/` | of `report --redraw`, see `analysis.report.sections.images` |
| `sweeps/<name>/notes/<token>.json` | a note, star or saved view of a person, see `sweeps.results.notes` |
| `sweeps/<name>/stops/<token>-<run>.json` | requests to stop all runs, one run, or one trial after the current epoch |
| `sweeps/<name>/fresh.json` | an unfinished run with `--fresh`, see `cluster.driver.fresh_run` |
| `gates/<name>/` | settings, candidates, verdicts and claims of a gate, see `sweeps.api.gate.ledger` |
| `logs/<tool>/<sweep>/` | what `run --log` has written for another tool, see `analysis.trackers` |
| `sweeps/<name>/summary.json` | best arm, cost and counts of a sweep, see `analysis.dashboard.data.sweep_line` |
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from sweeps.errors import StoreError
from sweeps.results.columns import SCHEMA
from sweeps.store.base import Store, check_key
from sweeps.store.shapes import kinds

Json = dict[str, Any]

CHECKSUM = "checksum"
_START, _END = b'"checksum":"sha256:', b'"}'
_LENGTH = len(_START) + 64 + len(_END)

_log = logging.getLogger(__name__)


class DamagedError(StoreError):
    """An object of the store is not what was written: empty, cut short, altered, or of a wrong shape."""


def dump(value: Any) -> bytes:
    """Encode a value as stored JSON: one line, keys in the given order; an object gets a checksum.

    Refuses NaN; callers use None.
    """
    if isinstance(value, dict) and CHECKSUM in value:  # of an object that was read without `load`
        value = {name: part for name, part in value.items() if name != CHECKSUM}
    data = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    return with_checksum(data) if isinstance(value, dict) else data


def with_checksum(data: bytes) -> bytes:
    """Add the checksum to an object that is already encoded, and has none."""
    separator = b"" if data == b"{}" else b","
    return data[:-1] + separator + _START + hashlib.sha256(data).hexdigest().encode() + _END


def load(key: str, data: bytes) -> Any:
    """Decode the JSON of an object, without its checksum.

    Raises DamagedError, with its key and what is safe to do, if its checksum or its shape is wrong, and StoreError if
    it has a newer schema.
    """
    tail = data[-_LENGTH:]
    sealed = tail.startswith(_START) and tail.endswith(_END)
    if sealed:
        data = data[:-_LENGTH].removesuffix(b",") + b"}"
        if hashlib.sha256(data).hexdigest().encode() != tail[len(_START) : -len(_END)]:
            raise damaged(key, "its content does not match its checksum")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged(key, "it is empty" if not data else f"it is not JSON: {error}") from error
    if isinstance(value, dict):
        if CHECKSUM in value:
            raise damaged(key, "it was changed after it was written")
        schema = value.get("schema", SCHEMA)
        if isinstance(schema, int) and schema > SCHEMA:
            raise StoreError(
                f"object {key!r}",
                f"it was written with schema {schema}",
                f"schema {SCHEMA} or older",
                "install the newer inpaint-sweeps that wrote this store",
            )
    why = kinds.fault(key, value)
    if why:
        raise damaged(key, why)
    return value


def damaged(key: str, why: str) -> DamagedError:
    """The error for a damaged object, with what is safe to do about it."""
    return DamagedError(
        f"object {key!r}", f"it is damaged ({why})", "an object as written by inpaint-sweeps", kinds.remedy(key)
    )


def intact(bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """Decode many objects. Damaged ones are left out and reported by `report_damage`."""
    values = {}
    for key, data in bodies.items():
        try:
            values[key] = load(key, data)
        except DamagedError as error:
            report_damage(error)
    return values


def report_damage(error: DamagedError) -> None:
    """Log a damaged object that is passed over; the same sentence once per process."""
    sentence = f"{error.given}: {error.why}; it is passed over. {error.fix}"
    if sentence not in _reported:
        _reported.add(sentence)
        _log.warning("%s", sentence)


_reported: set[str] = set()


def get_json(store: Store, key: str) -> Any | None:
    """The JSON under a key; None if there is no object. Raises DamagedError."""
    try:
        return load(key, store.get(key))
    except KeyError:
        return None


def get_intact(store: Store, key: str) -> Any | None:
    """The JSON under a key; None if there is no object, or a damaged one, which is reported."""
    return intact(store.get_many([key])).get(key)


def create(store: Store, key: str, value: Any) -> bool:
    """Write an object unless there is an intact one under the key. Returns whether it was written.

    Only for objects whose writer holds a lease, or whose content is the same whoever writes it: replacing a damaged
    object is not exclusive.
    """
    data = dump(value)
    if store.create(key, data):
        return True
    if get_intact(store, key) is not None:
        return False
    store.put(key, data)
    return True


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
