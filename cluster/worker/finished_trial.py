"""Reads finished trials from a store, for uses of their networks: forging, prediction, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.worker.trial_config import checked_config
from cluster.worker.user_code import bring_code
from sweeps.errors import SweepError
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from trainables import schema


@dataclass(frozen=True)
class FinishedTrial:
    """A finished trial at its highest target epoch."""

    trial_id: str
    task: str
    config: Mapping[str, Any]
    """The resolved configuration, with `epochs` and `seed`."""
    result: Mapping[str, Any]
    """See `sweeps.store.layout`."""
    files: Mapping[str, bytes] | None
    """Files of the last checkpoint; None if the trial trains nothing."""

    @property
    def weights(self) -> dict[str, Any]:
        """The network's state dict."""
        from trainables.training import checkpoint

        state: dict[str, Any] = checkpoint.unpack(self.files)[0]["network"] if self.files else {}
        return state

    def last(self, column: str) -> float | None:
        """The last value that the trial reported in a column."""
        values = self.result["history"].get(column)
        return values[-1] if values else None


def newest_result(store: Store, trial_id: str, why: str) -> Mapping[str, Any]:
    """The result of a trial's highest target epoch. why: what it is needed for, used in the error message."""
    epochs = stored_trials.finished_epochs(store, trial_id)
    highest = max(epochs, default=0)
    result = layout.get_json(store, layout.result_key(trial_id, highest)) if epochs else None
    if result is None:
        exists = bool(store.exists_many([layout.trial_key(trial_id)]))
        raise SweepError(
            f"trial {trial_id!r}, {why}",
            "it has not finished" if exists else f"the store {store.uri} has no such trial",
            "a finished trial in the same store",
            "sweeps resume NAME with the name of its sweep; sweeps status lists the sweeps of the store",
        )
    return {"epochs": highest, **result}


def read(store: Store, trial_id: str, why: str) -> FinishedTrial:
    """A finished trial with its final checkpoint. SweepError if the trial has not finished or lacks the checkpoint."""
    result = newest_result(store, trial_id, why)
    body = stored_trials.read_trial(store, trial_id)
    epochs = int(result["epochs"])
    config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
    files = None
    bring_code(store, schema.code_of(str(body["task"]), config))
    checked_config(trial_id, body, epochs)
    if schema.trains(config):
        saved = checkpoints.latest_checkpoint(store, trial_id, epochs, epochs)
        if saved is None:
            raise SweepError(
                f"trial {trial_id!r}, {why}",
                f"its checkpoint of the last epoch, {epochs}, is missing or damaged",
                "a trial with an intact final checkpoint",
                "sweeps run FILE --fresh trains it again",
            )
        files = saved.files
    return FinishedTrial(trial_id, str(body["task"]), config, result, files)
