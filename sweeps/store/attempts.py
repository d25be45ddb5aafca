"""Attempts at a trial: claims, heartbeats, ends and logs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweeps.results.columns import SCHEMA
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_json, join, load


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial."""

    trial_id: str
    number: int
    token: str
    """Random; makes the keys of this attempt unique."""
    holder: Json = field(default_factory=dict, compare=False)
    """The process that claimed it, see `sweeps.store.holders`."""

    @property
    def name(self) -> str:
        return f"{self.number:04d}-{self.token}"

    def key(self, *parts: str | int) -> str:
        return join("trials", self.trial_id, *parts)

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
    """The numbers of all attempts at a trial, ascending."""
    return listing.numbers(store, join("trials", trial_id, "attempts"))


def attempts(store: Store, trial_id: str) -> list[Attempt]:
    """All attempts at a trial, oldest first."""
    keys = [_claim_key(trial_id, number) for number in attempt_numbers(store, trial_id)]
    bodies = store.get_many(keys)
    claims = [load(key, bodies[key]) for key in keys if key in bodies]
    return [_claimed(trial_id, claim) for claim in claims]


def _claim_key(trial_id: str, number: int) -> str:
    return join("trials", trial_id, "attempts", f"{number:04d}.json")


def newest_attempt(store: Store, trial_id: str) -> Attempt | None:
    """The newest attempt at a trial; None if there is none."""
    numbers = attempt_numbers(store, trial_id)
    claim = get_json(store, _claim_key(trial_id, numbers[-1])) if numbers else None
    return _claimed(trial_id, claim) if claim else None


def newest_attempts(store: Store, trial_ids: Iterable[str]) -> dict[str, Attempt | None]:
    """`newest_attempt` of many trials with few listings."""
    newest: dict[str, str | None] = dict.fromkeys(trial_ids)
    for key in sorted(listing.find(store, (join("trials", trial_id, "attempts") + "/" for trial_id in newest))):
        _, trial_id, _, name = key.split("/")
        if name.removesuffix(".json").isdigit():
            newest[trial_id] = key
    bodies = store.get_many(key for key in newest.values() if key)
    claims = {trial_id: load(key, bodies[key]) for trial_id, key in newest.items() if key and key in bodies}
    return {trial_id: _claimed(trial_id, claims[trial_id]) if trial_id in claims else None for trial_id in newest}


def _claimed(trial_id: str, claim: Json) -> Attempt:
    return Attempt(trial_id, claim["number"], claim["token"], claim.get("process") or {})


def claim(store: Store, trial_id: str, after: int, body: Json) -> Attempt | None:
    """Claim a trial as the attempt after number `after`. None if another process has claimed that number.

    after: number of the newest attempt, which the caller knows to have ended; 0 if there is none
    body: further fields of the claim: `claimed_at` (seconds since 1970), `process`, `provenance`
    """
    number = after + 1
    attempt = Attempt(trial_id, number, uuid.uuid4().hex[:8])
    body = {"schema": SCHEMA, "number": number, "token": attempt.token, **body}
    key = _claim_key(trial_id, number)
    if not store.create(key, dump(body)):
        return None
    if store.exclusive:
        return attempt
    # Without conditional writes, the later of two claims may replace the earlier one: read back which one is stored.
    return attempt if load(key, store.get(key))["token"] == attempt.token else None


def superseded(store: Store, attempt: Attempt) -> bool:
    """Whether a newer attempt has claimed the trial."""
    return max(attempt_numbers(store, attempt.trial_id), default=0) > attempt.number


def beat(store: Store, attempt: Attempt, body: Json) -> None:
    """Write the heartbeat of an attempt: its progress, for leases and displays."""
    store.put(attempt.beat_key, dump(body))


def end(store: Store, attempt: Attempt, state: str, ended_at: float, error: Json | None = None) -> None:
    """Write how an attempt ended. state: done, failed, stopped or superseded."""
    store.put(attempt.end_key, dump({"state": state, "ended_at": ended_at, "error": error}))


def read_log(store: Store, attempt: Attempt) -> str:
    """The log of an attempt; '' if there is none."""
    data = store.get_many([attempt.log_key]).get(attempt.log_key, b"")
    return data.decode(errors="replace")
