"""Attempts at a trial: claims, heartbeats, ends and logs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweeps.results.columns import SCHEMA
from sweeps.store import listing
from sweeps.store.base import Store
from sweeps.store.layout import Json, dump, get_intact, intact, join

UNMEASURED = "unmeasured"
"""How an attempt ends that could not measure the network of a finished trial: it says nothing of other targets."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial."""

    trial_id: str
    number: int
    token: str
    """Random; makes the keys of this attempt unique."""
    holder: Json = field(default_factory=dict, compare=False)
    """The process that claimed it, see `sweeps.holders`."""

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
    keys = _keys(store, trial_id)
    return _read(store, _claims(keys), keys)


def newest_attempt(store: Store, trial_id: str) -> Attempt | None:
    """The newest attempt at a trial; None if there is none."""
    keys = _keys(store, trial_id)
    return next(iter(_read(store, _claims(keys)[-1:], keys)), None)


def _keys(store: Store, trial_id: str) -> list[str]:
    """The keys of all objects of a trial's attempts."""
    folder = join("trials", trial_id, "attempts")
    return [f"{folder}/{name}" for name in listing.children(store, folder)]


def _claims(keys: Iterable[str]) -> list[str]:
    """The keys of claims among those of attempts, by number."""
    numbers = {key: key.rpartition("/")[2].removesuffix(".json") for key in keys}
    return sorted((key for key, number in numbers.items() if number.isdecimal()), key=lambda key: int(numbers[key]))


def _read(store: Store, claims: Sequence[str], keys: Iterable[str]) -> list[Attempt]:
    """The attempts with these claims. keys: the keys of their trials' attempts.

    A claim that is damaged still has its number, and its token is in the names of the attempt's other objects. So an
    attempt that is alive stays so, and the next one gets a free number.
    """
    bodies = store.get_many(claims)
    read = intact(bodies)
    tokens = {}
    for key in keys if len(read) < len(bodies) else ():
        folder, _, name = key.rpartition("/")
        number, dash, rest = name.partition("-")
        if dash:
            tokens[f"{folder}/{number}.json"] = rest.partition(".")[0]
    found = []
    for key in claims:
        _, trial_id, _, name = key.split("/")
        if key in read:
            claim = read[key]
            found.append(Attempt(trial_id, claim["number"], claim["token"], claim.get("process") or {}))
        elif key in bodies:
            found.append(Attempt(trial_id, int(name.removesuffix(".json")), tokens.get(key, "unknown")))
    return found


def newest_attempts(store: Store, trial_ids: Iterable[str]) -> dict[str, Attempt | None]:
    """`newest_attempt` of many trials with few listings."""
    newest: dict[str, str | None] = dict.fromkeys(trial_ids)
    keys = sorted(listing.find(store, (join("trials", trial_id, "attempts") + "/" for trial_id in newest)))
    newest |= {key.split("/")[1]: key for key in _claims(keys)}
    found = {attempt.trial_id: attempt for attempt in _read(store, [key for key in newest.values() if key], keys)}
    return {trial_id: found.get(trial_id) for trial_id in newest}


def claim(store: Store, trial_id: str, after: int, body: Json) -> Attempt | None:
    """Claim a trial as the attempt after number `after`. None if another process has claimed that number.

    after: number of the newest attempt, which the caller knows to have ended; 0 if there is none
    body: further fields of the claim: `claimed_at` (seconds since 1970), `process`, `provenance`
    """
    number = after + 1
    attempt = Attempt(trial_id, number, uuid.uuid4().hex[:8])
    body = {"schema": SCHEMA, "number": number, "token": attempt.token, **body}
    key = join("trials", trial_id, "attempts", f"{number:04d}.json")
    if not store.create(key, dump(body)):
        return None
    if store.exclusive:
        return attempt
    # Without conditional writes, the later of two claims may replace the earlier one: read back which one is stored.
    stored = get_intact(store, key)
    return attempt if stored is not None and stored["token"] == attempt.token else None


def superseded(store: Store, attempt: Attempt) -> bool:
    """Whether a newer attempt has claimed the trial."""
    return max(attempt_numbers(store, attempt.trial_id), default=0) > attempt.number


def beat(store: Store, attempt: Attempt, body: Json) -> None:
    """Write the heartbeat of an attempt: its progress, for leases and displays."""
    store.put(attempt.beat_key, dump(body))


def end(store: Store, attempt: Attempt, state: str, ended_at: float, error: Json | None = None) -> None:
    """Write how an attempt ended. state: done, failed, stopped, superseded or `UNMEASURED`."""
    store.put(attempt.end_key, dump({"state": state, "ended_at": ended_at, "error": error}))


def read_log(store: Store, attempt: Attempt) -> str:
    """The log of an attempt; '' if there is none."""
    data = store.get_many([attempt.log_key]).get(attempt.log_key, b"")
    return data.decode(errors="replace")
