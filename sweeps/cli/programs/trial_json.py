"""The JSON documents on the trials of sweeps: `run`, `status`, `show`, `stop`, `gc`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sweeps.cli.programs.json_document import JsonDocument, JsonOutput, ProtocolName, protocol_name
from sweeps.results import progress
from sweeps.store import attempts as stored_attempts
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store

if TYPE_CHECKING:
    from sweeps.api import SweepStatus


class TrialOutput(JsonOutput):
    id: str = Field(description="trial id")
    arm: str = Field(description="arm; the first of those that share the trial")
    seed: int | None = Field(description="seed")
    epochs: int = Field(description="target epoch")
    state: Literal["done", "running", "failed", "interrupted", "queued", "damaged", "to be extended"] = Field(
        description="state of the trial"
    )
    epoch: int | None = Field(description="last epoch known to have ended")
    silent_s: float | None = Field(None, description="of a running trial: seconds since its last heartbeat")
    error: dict[str, Any] | None = Field(
        None,
        description="of a failed trial, or a finished one that could not be measured: type, message, traceback, place",
    )


class SearchOutput(JsonOutput):
    arm: str = Field(description="the arm that is searched")
    budget: int = Field(description="suggestions in the plan")
    counts: dict[str, int] = Field(description="suggestions by state: complete, pruned, failed, running")
    best: list[float] = Field(description="values of the best complete suggestion, one for each metric; empty: none")
    done: bool = Field(description="whether it has ended")
    failure: str = Field(description="why it ended without a result; empty if it has one or has not ended")


class StatusOutput(JsonDocument):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    protocol: ProtocolName | None = Field(None, description="what rates the fills of every arm; null: no protocol")
    seeds: list[int] = Field(description="its seeds")
    complete: bool = Field(description="whether every trial is done and every search has a result")
    trials: list[TrialOutput] = Field(description="its trials")
    searches: list[SearchOutput] = Field(description="its searches")
    notes: list[str] = Field(description="remarks: results of older code or from different data")


class ListedSweep(JsonOutput):
    name: str = Field(description="name of the sweep")
    question: str = Field(description="its question")
    counts: dict[str, int] = Field(description="trials by state")


class SweepsOutput(JsonDocument):
    """Of `status` without a name."""

    store: str = Field(description="address of the store")
    sweeps: list[ListedSweep] = Field(description="its sweeps")


class ShownAttempt(JsonOutput):
    name: str = Field(description="name of the attempt")
    state: str = Field(description="how it ended; `-` if it has no recorded end")
    error: dict[str, Any] | None = Field(description="the error that ended it")
    log: str | None = Field(None, description="its log; only of the newest attempt")


class ShowOutput(JsonDocument):
    id: str = Field(description="trial id")
    task: str = Field(description="its task")
    seed: int = Field(description="its seed")
    config: dict[str, Any] = Field(description="resolved configuration")
    attempts: list[ShownAttempt] = Field(description="its attempts, the oldest first")
    results: dict[str, dict[str, Any]] = Field(
        description="its results by target epoch: history (columns), facts, provenance, started_at, ended_at"
    )
    damaged: list[int] = Field(description="target epochs with a result that cannot be read")


class StopOutput(JsonDocument):
    name: str = Field(description="name of the sweep")
    trial: str | None = Field(description="the trial that was asked to stop; null: all drivers of the sweep")


class GcOutput(JsonDocument):
    checkpoints: int = Field(description="checkpoints that were deleted")
    trials: int = Field(description="trials that were examined")
    writes: int = Field(description="unfinished writes that were deleted")
    folders: int = Field(description="temporary folders of killed processes that were deleted")


def status(sweep: SweepStatus) -> StatusOutput:
    plan, seen, trials = sweep.plan, set[tuple[str, int]](), []
    for arm in plan["arms"]:
        for seed, trial in arm["trials"].items():
            if (trial["id"], trial["epochs"]) in seen:
                continue
            seen.add((trial["id"], trial["epochs"]))
            state = sweep.trials[trial["id"]]
            trials.append(
                TrialOutput(
                    id=trial["id"],
                    arm=arm["name"],
                    seed=int(seed),
                    epochs=trial["epochs"],
                    state=state.words(trial["epochs"]),
                    epoch=state.epoch,
                    silent_s=state.silent_s,
                    error=state.error,
                )
            )
    searches = [
        SearchOutput(
            arm=search.arm,
            budget=search.budget,
            counts=dict(search.counts),
            best=list(search.best[0].values) if search.best else [],
            done=search.done,
            failure=search.failure,
        )
        for search in sweep.searches
    ]
    waiting = any(not arm["trials"] for arm in plan["arms"])
    return StatusOutput(
        name=plan["name"],
        question=plan["question"],
        protocol=protocol_name(stored_plans.protocol(plan)),
        seeds=plan["seeds"],
        complete=not waiting
        and all(trial.state == "done" for trial in trials)
        and all(search.done and not search.failure for search in searches),
        trials=trials,
        searches=searches,
        notes=list(sweep.notes),
    )


def listed(statuses: Iterable[SweepStatus], uri: str) -> SweepsOutput:
    return SweepsOutput(
        store=uri,
        sweeps=[
            ListedSweep(
                name=sweep.plan["name"],
                question=sweep.plan["question"],
                counts={
                    state: number
                    for state in progress.STATES
                    if (number := sum(trial.state == state for trial in sweep.trials.values()))
                },
            )
            for sweep in statuses
        ],
    )


def shown(store: Store, trial_id: str) -> ShowOutput:
    body = stored_trials.read_trial(store, trial_id)
    attempts, results, damaged = [], {}, []
    newest = stored_attempts.newest_attempt(store, trial_id)
    for attempt in stored_attempts.attempts(store, trial_id):
        end = {"state": "-", "error": None} | (layout.get_intact(store, attempt.end_key) or {})
        log = stored_attempts.read_log(store, attempt) if newest and attempt.name == newest.name else None
        attempts.append(ShownAttempt(name=attempt.name, state=end["state"], error=end["error"], log=log))
    for epochs in stored_trials.finished_epochs(store, trial_id):
        result = layout.get_intact(store, layout.result_key(trial_id, epochs))
        if result is None:
            damaged.append(epochs)
        else:
            results[str(epochs)] = dict(result)
    return ShowOutput(
        id=trial_id,
        task=body["task"],
        seed=body["seed"],
        config=body["config"],
        attempts=attempts,
        results=results,
        damaged=damaged,
    )
