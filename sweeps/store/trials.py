"""Trials in a store: their definitions and results."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sweeps.errors import StorageError, StoreError
from sweeps.results.columns import SCHEMA
from sweeps.spec.trial import Trial
from sweeps.store import listing
from sweeps.store.attempts import Attempt, superseded
from sweeps.store.base import Store
from sweeps.store.layout import (
    DamagedError,
    Json,
    create,
    dump,
    get_intact,
    get_json,
    intact,
    join,
    result_key,
    trial_key,
)


class AbsentTrialError(StoreError):
    """The store has no trial with this id."""


def write_trials(store: Store, trials: Iterable[Trial]) -> None:
    """Store the definitions of trials; existing ones stay unchanged."""
    wanted = {trial_key(trial.id): trial for trial in trials}
    existing = store.exists_many(wanted)
    new = ((key, _trial_body(trial)) for key, trial in wanted.items() if key not in existing)
    store.create_many(new)


def restore_trials(store: Store, trials: Iterable[Trial]) -> None:
    """Write damaged definitions of trials again. An id is the hash of its trial, so the content is known."""
    wanted = {trial_key(trial.id): trial for trial in trials}
    bodies = store.get_many(wanted)
    for key in bodies.keys() - intact(bodies).keys():
        store.put(key, _trial_body(wanted[key]))


def _trial_body(trial: Trial) -> bytes:
    config = {key: value for key, value in trial.config.items() if key != "epochs"}
    return dump({"schema": SCHEMA, **trial.to_json(), "config": config})


def read_trial(store: Store, trial_id: str) -> Json:
    """A trial's task, configuration (without `epochs`) and seed. StoreError if the store has no such trial."""
    body = get_json(store, trial_key(trial_id))
    if not isinstance(body, dict):
        allowed = "an id from `sweeps status`"
        raise AbsentTrialError(
            f"trial {trial_id!r}",
            "the store has no such trial",
            allowed,
            "sweeps status NAME lists ids; --store names another store",
        )
    return body


def read_planned_trial(store: Store, trial_id: str) -> Json:
    """`read_trial` for a trial of a run, which has written it. StorageError if it was deleted or damaged since.

    This ends the run and not the trial: the next run writes the definition again.
    """
    try:
        return read_trial(store, trial_id)
    except (AbsentTrialError, DamagedError) as error:
        raise StorageError(
            f"object {trial_key(trial_id)!r}",
            f"it was deleted or damaged since the run began: {error.why}",
            "a store in which nothing but this package deletes or changes objects",
            "the same command writes it again and continues",
        ) from error


def finish(store: Store, attempt: Attempt, epochs: int, body: Json) -> bool:
    """Create the result for a target epoch, or replace a damaged one.

    Returns False if there is an intact one or the attempt is superseded.
    """
    if superseded(store, attempt):
        return False
    result = {"schema": SCHEMA, "attempt": attempt.name, "epochs": epochs, **body}
    return create(store, result_key(attempt.trial_id, epochs), result)


def extend(store: Store, attempt: Attempt, before: Json, body: Json) -> bool:
    """Replace a result by one that also has further metrics of the same trained network.

    What the result says of the training stays: its values, facts and provenance. Its pictures and the values of its
    images are those of the attempt that measured, if that has all of them: one of several processes has not. Returns
    False if the attempt is superseded.

    before: the result. body: as for `finish`.
    """
    if superseded(store, attempt):
        return False
    history, known = body["history"], before["history"]
    new = {name: values for name, values in history.items() if name not in known}
    measured = {"columns": sorted(new), "attempt": attempt.name, "at": body["ended_at"]}
    files = {"attempt": attempt.name, "files": body["files"]}
    result = {
        **before,
        **(files if before.get("files", {}).keys() <= body["files"].keys() else {}),
        "history": known | new,
        "extra": list(dict.fromkeys([*before.get("extra", ()), *body["extra"]])),
        "measured": [*before.get("measured", ()), {**measured, "provenance": body["provenance"]}],
    }
    store.put(result_key(attempt.trial_id, int(before["epochs"])), dump(result))
    return True


def read_result(store: Store, trial_id: str, epochs: int) -> Json | None:
    """The intact result of a trial for a target epoch; None if there is none."""
    result: Json | None = get_intact(store, result_key(trial_id, epochs))
    return result


def is_finished(store: Store, trial_id: str, epochs: int, metrics: Collection[str] = ()) -> bool:
    """Whether a trial has an intact result for a target epoch, which lacks none of these metrics of `report.extra`."""
    result = read_result(store, trial_id, epochs)
    return result is not None and not missing(metrics, result)


def missing(metrics: Iterable[str], result: Json, columns: Collection[str] | None = None) -> tuple[str, ...]:
    """The metrics of `report.extra` that a result lacks. One that could not be computed does not count.

    columns: of the result's history, if that was read apart.
    """
    known = result["history"] if columns is None else columns
    return tuple(name for name in metrics if f"test/{name}" not in known and name not in result.get("extra", ()))


def finished_epochs(store: Store, trial_id: str) -> list[int]:
    """The target epochs for which a trial has a result, ascending."""
    return listing.numbers(store, join("trials", trial_id, "result"))


def forget(store: Store, trial_id: str) -> None:
    """Delete a trial's results and checkpoints, so that it is trained again. Its attempts are kept as a history."""
    for folder in ("result", "checkpoint"):
        store.delete(listing.keys(store, join("trials", trial_id, folder) + "/"))
