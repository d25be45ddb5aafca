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

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.errors import StoreAwayError, StoreError
from sweeps.results.columns import SCHEMA
from sweeps.spec.trial import Trial, digest
from sweeps.store.base import Store, never

Json = dict[str, Any]

ALL_RUNS = "all"
"""In a request to stop: every driver of the sweep, not one run of it."""


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


# --- trials -----------------------------------------------------------------------------------------------------------


def trial_key(trial_id: str) -> str:
    return f"trials/{trial_id}/trial.json"


def result_key(trial_id: str, epochs: int) -> str:
    return f"trials/{trial_id}/result/{epochs}.json"


def write_trials(store: Store, trials: Iterable[Trial]) -> None:
    """Make the trials known to the store; those that are there already stay as they are."""
    wanted = {trial_key(trial.id): trial for trial in trials}
    there = store.exists_many(wanted)
    new = ((key, _trial_body(trial)) for key, trial in wanted.items() if key not in there)
    store.create_many(new)


def _trial_body(trial: Trial) -> bytes:
    config = {key: value for key, value in trial.config.items() if key != "epochs"}
    return dump({"schema": SCHEMA, **trial.to_json(), "config": config})


def read_trial(store: Store, trial_id: str) -> Json:
    """A trial's task, configuration (without `epochs`) and seed; a StoreError where the store has no such trial."""
    body = get_json(store, trial_key(trial_id))
    if not isinstance(body, dict):
        raise StoreError(f"trial {trial_id!r}", "the store has no such trial", "an id from `sweeps status`", "check it")
    return body


# --- attempts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One try at a trial: its number and the token that makes its keys its own."""

    trial_id: str
    number: int
    token: str

    @property
    def name(self) -> str:
        return f"{self.number:04d}-{self.token}"

    def key(self, *parts: str | int) -> str:
        return "/".join(["trials", self.trial_id, *map(str, parts)])

    @property
    def beat_key(self) -> str:
        return self.key("attempts", f"{self.name}.beat.json")

    @property
    def end_key(self) -> str:
        return self.key("attempts", f"{self.name}.end.json")

    @property
    def log_key(self) -> str:
        return self.key("log", f"{self.name}.txt")


def attempt_numbers(store: Store, trial_id: str) -> list[int]:
    """The numbers of all claims on a trial, ascending."""
    names = (name.removesuffix(".json") for name in store.children(f"trials/{trial_id}/attempts"))
    return sorted(int(name) for name in names if name.isdigit())


def attempts(store: Store, trial_id: str) -> list[Attempt]:
    """All claims on a trial, oldest first."""
    keys = [f"trials/{trial_id}/attempts/{n:04d}.json" for n in attempt_numbers(store, trial_id)]
    found = store.get_many(keys)
    claims = [load(key, found[key]) for key in keys if key in found]
    return [Attempt(trial_id, claim["number"], claim["token"]) for claim in claims]


def newest_attempt(store: Store, trial_id: str) -> Attempt | None:
    """The newest claim on a trial; None where nobody has claimed it."""
    numbers = attempt_numbers(store, trial_id)
    claim = get_json(store, f"trials/{trial_id}/attempts/{numbers[-1]:04d}.json") if numbers else None
    return Attempt(trial_id, claim["number"], claim["token"]) if claim else None


def newest_attempts(store: Store, trial_ids: Iterable[str]) -> dict[str, Attempt | None]:
    """`newest_attempt` of many trials, from few listings."""
    newest: dict[str, str | None] = dict.fromkeys(trial_ids)
    for key in sorted(store.find(f"trials/{trial_id}/attempts/" for trial_id in newest)):
        _, trial_id, _, name = key.split("/")
        if name.removesuffix(".json").isdigit():
            newest[trial_id] = key
    bodies = store.get_many(key for key in newest.values() if key)
    claims = {trial_id: load(key, bodies[key]) for trial_id, key in newest.items() if key and key in bodies}
    return {
        trial_id: Attempt(trial_id, claims[trial_id]["number"], claims[trial_id]["token"])
        if trial_id in claims
        else None
        for trial_id in newest
    }


def claim(store: Store, trial_id: str, after: int, body: Json) -> Attempt | None:
    """Claim a trial as the attempt that follows number `after`. None when another has done so.

    after: the newest attempt, which the caller knows to be over (0: there was none). body: who tries, with what; kept
    in the claim (`claimed_at` in seconds since 1970, `process`, `provenance`).
    """
    number = after + 1
    attempt = Attempt(trial_id, number, uuid.uuid4().hex[:8])
    body = {"schema": SCHEMA, "number": number, "token": attempt.token, **body}
    key = attempt.key("attempts", f"{number:04d}.json")
    if not store.create(key, dump(body)):
        return None
    if store.exclusive:
        return attempt
    # A store without conditional writes lets the later of two claims replace the first: look who is there.
    return attempt if load(key, store.get(key))["token"] == attempt.token else None


def superseded(store: Store, attempt: Attempt) -> bool:
    """Whether a newer attempt has claimed the trial."""
    return max(attempt_numbers(store, attempt.trial_id), default=0) > attempt.number


def beat(store: Store, attempt: Attempt, body: Json) -> None:
    """Write an attempt's heartbeat: what it is at, for leases and for the eye."""
    store.put(attempt.beat_key, dump(body))


def end(store: Store, attempt: Attempt, state: str, ended_at: float, error: Json | None = None) -> None:
    """Write how an attempt ended. state: done, failed, stopped, superseded."""
    store.put(attempt.end_key, dump({"state": state, "ended_at": ended_at, "error": error}))


def read_log(store: Store, attempt: Attempt) -> str:
    """What happened in an attempt, '' where nothing was written."""
    data = store.get_many([attempt.log_key]).get(attempt.log_key, b"")
    return data.decode(errors="replace")


# --- checkpoints and results ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """An intact checkpoint: its epoch, its files, and damaged newer ones that were passed over."""

    epoch: int
    files: Mapping[str, bytes]
    damaged: tuple[str, ...] = ()


def save_checkpoint(
    store: Store,
    attempt: Attempt,
    epoch: int,
    files: Mapping[str, bytes],
    abandoned: Callable[[], bool] = never,
) -> bool:
    """Write a checkpoint's files, then its manifest. False, and no manifest, when the attempt is superseded.

    JSON files stand in the manifest itself: each object is a request. abandoned: see `Store.put`.
    """
    folder = attempt.key("checkpoint", attempt.name, epoch)
    sums: dict[str, Json] = {}
    for name, data in files.items():
        sums[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if name.endswith(".json"):
            sums[name]["text"] = data.decode()
        else:
            store.put(f"{folder}/{name}", data, abandoned)
    if superseded(store, attempt):
        return False
    store.put(f"{folder}/manifest.json", dump({"schema": SCHEMA, "epoch": epoch, "files": sums}), abandoned)
    return True


def checkpoints(store: Store, trial_id: str) -> list[tuple[str, int]]:
    """(attempt name, epoch) of all checkpoints with a manifest, the one to resume from last."""
    prefix = f"trials/{trial_id}/checkpoint/"
    found = [key.split("/")[-3:-1] for key in store.keys(prefix) if key.endswith("/manifest.json")]
    return sorted((name, int(epoch)) for name, epoch in found)


def latest_checkpoint(store: Store, trial_id: str, up_to: int) -> Checkpoint | None:
    """The newest attempt's highest intact checkpoint at or below epoch `up_to`, past damaged ones."""
    damaged: list[str] = []
    for name, epoch in reversed(checkpoints(store, trial_id)):
        if epoch > up_to:
            continue
        folder = f"trials/{trial_id}/checkpoint/{name}/{epoch}"
        files = _read_checkpoint(store, folder)
        if files is not None:
            return Checkpoint(epoch, files, tuple(damaged))
        damaged.append(folder)
    return None


def checkpoint_history(store: Store, trial_id: str, up_to: int) -> list[Json]:
    """The records in the checkpoint that a trial would resume from; none without one. Reads no weights."""
    for name, epoch in reversed(checkpoints(store, trial_id)):
        if epoch <= up_to:
            return history_at(store, trial_id, name, epoch)
    return []


def history_at(store: Store, trial_id: str, name: str, epoch: int) -> list[Json]:
    """The records in one checkpoint of the attempt `name`; none where there are none. Reads no weights."""
    folder = f"trials/{trial_id}/checkpoint/{name}/{epoch}"
    manifest = get_json(store, f"{folder}/manifest.json") or {}
    text = manifest.get("files", {}).get("history.json", {}).get("text")
    rows = get_json(store, f"{folder}/history.json") if text is None else load(f"{folder}/manifest.json", text.encode())
    return rows if isinstance(rows, list) else []


def _read_checkpoint(store: Store, folder: str) -> dict[str, bytes] | None:
    try:
        sums = load(f"{folder}/manifest.json", store.get(f"{folder}/manifest.json"))["files"]
    except StoreAwayError:  # says nothing about the checkpoint
        raise
    except (KeyError, StoreError):
        return None
    stored = store.get_many(f"{folder}/{name}" for name in sums if "text" not in sums[name])
    files = {name: sum_["text"].encode() for name, sum_ in sums.items() if "text" in sum_}
    files |= {key.removeprefix(f"{folder}/"): data for key, data in stored.items()}
    intact = all(
        name in files and hashlib.sha256(files[name]).hexdigest() == sum_["sha256"] for name, sum_ in sums.items()
    )
    return files if intact else None


def drop_checkpoints(store: Store, attempt: Attempt, saved: Mapping[int, Iterable[str]]) -> None:
    """Delete checkpoints of this attempt, whose file names by epoch are known: no listing is asked for."""
    keys = []
    for epoch, files in saved.items():
        objects = ["manifest.json", *(name for name in files if not name.endswith(".json"))]
        keys += [attempt.key("checkpoint", attempt.name, epoch, name) for name in objects]
    store.delete(keys)


def finish(store: Store, attempt: Attempt, epochs: int, body: Json) -> bool:
    """Create the result for a target epoch. False when there is one or the attempt is superseded."""
    if superseded(store, attempt):
        return False
    result = {"schema": SCHEMA, "attempt": attempt.name, "epochs": epochs, **body}
    return store.create(result_key(attempt.trial_id, epochs), dump(result))


def finished_epochs(store: Store, trial_id: str) -> list[int]:
    """The target epochs for which a trial has a result."""
    return [int(name.removesuffix(".json")) for name in store.children(f"trials/{trial_id}/result")]


def forget(store: Store, trial_id: str) -> None:
    """Delete a trial's results and checkpoints, so that it is trained anew; its attempts stay as its history."""
    for folder in ("result", "checkpoint"):
        store.delete(list(store.keys(f"trials/{trial_id}/{folder}/")))


def collect(store: Store, trial_id: str) -> int:
    """Delete the checkpoints that nothing needs any more; how many they were.

    Of a finished trial the one of its highest target epoch stays, of another one the newest two.
    """
    saved = checkpoints(store, trial_id)
    results = finished_epochs(store, trial_id)
    kept = saved[-2:]
    if results:
        result = load("result", store.get(result_key(trial_id, max(results))))
        final = (result["attempt"], result["epochs"])
        kept = [final] if final in saved else kept
    for name, epoch in saved:
        if (name, epoch) not in kept:
            keys = list(store.keys(f"trials/{trial_id}/checkpoint/{name}/{epoch}/"))
            store.delete(sorted(keys, key=lambda key: not key.endswith("/manifest.json")))
    return len(saved) - len(kept)


# --- sweeps -----------------------------------------------------------------------------------------------------------


def write_plan(store: Store, name: str, plan: Json, text: str, planned_at: float) -> Json:
    """Store a plan and the file it comes from, unless the newest stored plan is the same. Returns the stored plan.

    A stored plan is never changed: an edited file makes the next one, so that the report can say what changed when.
    """
    content = digest([plan, text], 32)
    while True:
        newest = newest_plan(store, name)
        if newest is not None and newest["hash"] == content:
            return newest
        body = {"schema": SCHEMA, "hash": content, "planned_at": planned_at, "text": text, **plan}
        number = len(store.children(f"sweeps/{name}/plans")) + 1
        if store.create(f"sweeps/{name}/plans/{number:04d}.json", dump(body)):
            return body


def newest_plan(store: Store, name: str) -> Json | None:
    """The newest plan of a sweep; None for an unknown sweep."""
    prefix = f"sweeps/{name}/plans"
    names = store.children(prefix)
    return get_json(store, f"{prefix}/{names[-1]}") if names else None


def read_plans(store: Store, name: str) -> list[Json]:
    """All plans of a sweep, oldest first; empty for an unknown sweep."""
    prefix = f"sweeps/{name}/plans/"
    found = store.get_many(store.keys(prefix))
    return [load(key, found[key]) for key in sorted(found)]


def request_stop(store: Store, name: str, whom: str = ALL_RUNS) -> None:
    """Ask a sweep's drivers to end after the epochs at hand, or one of them, or one trial.

    whom: the token of the driver's run, or the trial's id.
    """
    store.create(f"sweeps/{name}/stops/{uuid.uuid4().hex[:12]}-{whom}.json", b"{}")


def stop_requests(store: Store, name: str, *whom: str) -> frozenset[str]:
    """The requests so far to all or to one of `whom` (a run, a trial); without any, every request there is.

    New ones are told from old ones by comparing sets, not clocks.
    """
    ends = tuple(f"-{one}.json" for one in (ALL_RUNS, *whom)) if whom else (".json",)
    return frozenset(key for key in store.children(f"sweeps/{name}/stops") if key.endswith(ends))


def summary_key(name: str) -> str:
    return f"sweeps/{name}/summary.json"


def sweep_names(store: Store) -> list[str]:
    return store.children("sweeps")
