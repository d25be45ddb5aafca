"""The progress of a plan: the state of each of its trials, derived from the store alone.

done         there is a result for the target epoch
damaged      the result cannot be read: `sweeps run` finishes the trial again from its last checkpoint
failed       the newest attempt ended with an error
running      the newest attempt has not ended, and its last heartbeat is younger than `LEASE_S`
interrupted  the newest attempt ended early, its process is gone or its heartbeat stopped: `sweeps run` continues from
             its checkpoint; displayed as `EXTENDED` if it had finished and the plan now has more epochs
queued       there is no attempt yet
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sweeps.holders import LEASE_S, is_gone
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout, listing
from sweeps.store.base import Store

DAMAGED = "damaged"
STATES = ("done", "running", "failed", "interrupted", DAMAGED, "queued")
EXTENDED = "to be extended"
"""Display of an interrupted trial that had finished before its sweep was given more epochs."""
QUIET_S = 12.0
"""Seconds without a heartbeat, of which one is due every 5 s, after which a running attempt is displayed as silent."""


@dataclass(frozen=True)
class TrialState:
    """The state of a trial."""

    state: str
    """One of `STATES`; done if every target epoch in the plan is reached."""
    epoch: int | None = None
    """The last epoch known to have ended; None before the first."""
    error: dict[str, Any] | None = None
    """Of a failed trial, or a finished one that could not be measured: `type`, `message`, `traceback`."""
    attempt: str | None = None
    """Name of the newest attempt; None if there is none or the trial is done (then the result names it)."""
    record: dict[str, Any] = field(default_factory=dict)
    """The newest record, for display only; it does not count as a result."""
    load: dict[str, float] = field(default_factory=dict)
    """Of a running trial: CPUs in use and shares of its GPU, see `cluster.worker.provenance.Load`; for display only."""
    reached: tuple[int, ...] = ()
    """Target epochs with a result."""
    damaged: tuple[int, ...] = ()
    """Target epochs with a result that cannot be read."""
    silent_s: float | None = None
    """Of a running trial: seconds since its last heartbeat."""
    extended: bool = False
    """Of an interrupted trial: it had finished, and the plan was changed to more epochs; displayed as `EXTENDED`."""

    def at(self, target: int) -> str:
        """The state for one target epoch. Two arms that differ only in `epochs` share a trial with two targets."""
        if target in self.damaged and self.state != "running":
            return DAMAGED
        return "done" if target in self.reached else self.state

    def words(self, target: int) -> str:
        """`at` for display: a trial that only has to be extended is not called interrupted."""
        state = self.at(target)
        return EXTENDED if state == "interrupted" and self.extended else state


def targets(plan: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """{trial id: target epochs, ascending} of a plan, in the order of the plan."""
    return by_trial((trial["id"], trial["epochs"]) for arm in plan["arms"] for trial in arm["trials"].values())


def by_trial(runs: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Group (trial id, target epoch) pairs to {trial id: target epochs, ascending}, in order of first appearance."""
    grouped: dict[str, set[int]] = {}
    for trial_id, epochs in runs:
        grouped.setdefault(trial_id, set()).add(epochs)
    return {trial_id: tuple(sorted(epochs)) for trial_id, epochs in grouped.items()}


def trial_states(
    store: Store, plan: dict[str, Any], now: float | None = None, damaged: Collection[str] = ()
) -> dict[str, TrialState]:
    """The state of each trial of a stored plan by id; see `states_of`."""
    return states_of(store, targets(plan), now, damaged)


def states_of(
    store: Store, wanted: dict[str, tuple[int, ...]], now: float | None = None, damaged: Collection[str] = ()
) -> dict[str, TrialState]:
    """The state of each trial by id. Attempts are read only for trials that are not done, and results not at all.

    wanted: {trial id: target epochs, ascending}
    now: seconds since 1970, by default the current time
    damaged: keys of results that cannot be read, from `sweeps.store.record_cache.CachedStore.find_damaged`
    """
    keys = {layout.result_key(trial, epochs): (trial, epochs) for trial, many in wanted.items() for epochs in many}
    reached: dict[str, list[int]] = {}
    unreadable: dict[str, list[int]] = {}
    for key in sorted(store.exists_many(keys), key=lambda key: keys[key][1]):
        trial, epochs = keys[key]
        (unreadable if key in damaged else reached).setdefault(trial, []).append(epochs)
    open_trials = [trial for trial, many in wanted.items() if len(reached.get(trial, ())) < len(many)]
    unfinished = _unfinished(store, open_trials, time.time() if now is None else now)
    return {
        trial: _with_results(unfinished[trial], tuple(reached.get(trial, ())), tuple(unreadable.get(trial, ())))
        if trial in unfinished
        else TrialState("done", epoch=many[-1], reached=many)
        for trial, many in wanted.items()
    }


def newest_errors(store: Store, trials: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The errors of the finished trials whose newest attempt could not measure them, by id."""
    newest = {trial: claim.end_key for trial, claim in stored_attempts.newest_attempts(store, trials).items() if claim}
    ends = layout.intact(store.get_many(newest.values()))
    found = {trial: ends[key] for trial, key in newest.items() if key in ends}
    return {trial: end["error"] for trial, end in found.items() if end["state"] == stored_attempts.UNMEASURED}


def _with_results(state: TrialState, reached: tuple[int, ...], damaged: tuple[int, ...]) -> TrialState:
    epoch = max([*reached, *([] if state.epoch is None else [state.epoch])], default=None)
    word = DAMAGED if damaged and state.state != "running" else state.state
    return replace(state, state=word, epoch=epoch, reached=reached, damaged=damaged)


def _unfinished(store: Store, trials: Iterable[str], now: float) -> dict[str, TrialState]:
    claims = stored_attempts.newest_attempts(store, trials)
    claimed = [claim for claim in claims.values() if claim is not None]
    objects = store.get_many([key for claim in claimed for key in (claim.end_key, claim.beat_key)])
    bodies = dict.fromkeys(objects, layout.Json()) | layout.intact(objects)  # an end that cannot be read is an end
    states = {
        trial: TrialState("queued")
        if claim is None
        else _claimed(claim, bodies.get(claim.end_key), bodies.get(claim.beat_key), now)
        for trial, claim in claims.items()
    }
    stopped = [trial for trial, one in states.items() if one.state == "interrupted"]
    for trial, (results, saved) in _saved_epochs(store, stopped).items():
        epoch = max([*results, *saved, states[trial].epoch or 0])
        states[trial] = replace(states[trial], epoch=epoch or None, extended=states[trial].extended and bool(results))
    return states


def _saved_epochs(store: Store, trials: Iterable[str]) -> dict[str, tuple[list[int], list[int]]]:
    """The epochs of each trial with a result, for whatever target, and those with a checkpoint."""
    found: dict[str, tuple[list[int], list[int]]] = {trial: ([], []) for trial in trials}
    folders = [layout.join("trials", trial, part) + "/" for trial in found for part in ("result", "checkpoint")]
    for key in listing.find(store, folders) if folders else ():
        _, trial, part, *rest = key.split("/")
        if part == "result":
            found[trial][0].append(int(rest[0].removesuffix(".json")))
        elif rest[-1] == "manifest.json":
            found[trial][1].append(int(rest[1]))
    return found


def _claimed(
    attempt: stored_attempts.Attempt, end: dict[str, Any] | None, beat: dict[str, Any] | None, now: float
) -> TrialState:
    """The state from the end and the heartbeat of the newest attempt; either may be missing."""
    beat = beat or {}
    silent_s = now - beat.get("time", float("-inf"))
    if end is not None:
        state = "failed" if end.get("state") == "failed" else "interrupted"
    else:
        state = "running" if silent_s < LEASE_S and not is_gone(attempt.holder) else "interrupted"
    error = (end or {}).get("error") if state == "failed" else None
    silence = silent_s if state == "running" else None
    extended = state == "interrupted" and end is not None and end.get("state") in ("done", stored_attempts.UNMEASURED)
    record = beat.get("record") or {}
    load = (beat.get("load") or {}) if state == "running" else {}
    return TrialState(state, beat.get("epoch"), error, attempt.name, record, load, silent_s=silence, extended=extended)
