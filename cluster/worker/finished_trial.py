"""Finished trials of a store, for those that use their networks: forging, prediction, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.errors import SweepError
from sweeps.store import checkpoints, layout
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from trainables import schema


@dataclass(frozen=True)
class Trained:
    """A finished trial at its highest target epoch.

    config: resolved, with `epochs` and `seed`. result: see `sweeps.store.layout`. files: of the last checkpoint, None
    where there is nothing to train.
    """

    trial_id: str
    task: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    files: Mapping[str, bytes] | None

    @property
    def weights(self) -> dict[str, Any]:
        """The network's state."""
        from trainables.training import checkpoint

        found: dict[str, Any] = checkpoint.unpack(self.files)[0]["network"] if self.files else {}
        return found

    def last(self, column: str) -> float | None:
        """What the trial reported last."""
        values = self.result["history"].get(column)
        return values[-1] if values else None


def newest_result(store: Store, trial_id: str, why: str) -> Mapping[str, Any]:
    """The result of a trial's highest target epoch. why: what it is asked for; told where there is none."""
    epochs = stored_trials.finished_epochs(store, trial_id)
    result = layout.get_json(store, layout.result_key(trial_id, max(epochs))) if epochs else None
    if result is None:
        there = layout.get_json(store, layout.trial_key(trial_id)) is not None
        raise SweepError(
            f"trial {trial_id!r}, {why}",
            "it has not finished" if there else f"the store {store.uri} has no such trial",
            "a finished trial of the same store",
            "sweeps resume NAME for the sweep that it belongs to; sweeps status lists what there is",
        )
    assert isinstance(result, dict)
    return result


def read(store: Store, trial_id: str, why: str) -> Trained:
    """A finished trial with its final checkpoint. SweepError where it has not finished, or that is gone."""
    result = newest_result(store, trial_id, why)
    body = stored_trials.read_trial(store, trial_id)
    epochs = int(result["epochs"])
    config = {**body["config"], "epochs": epochs, "seed": body["seed"]}
    files = None
    if schema.trains(config):
        saved = checkpoints.latest_checkpoint(store, trial_id, epochs)
        if saved is None or saved.epoch != epochs:
            raise SweepError(
                f"trial {trial_id!r}, {why}",
                f"the store has no intact checkpoint of its last epoch, {epochs}",
                "a trial whose final checkpoint is there",
                "sweeps run FILE --fresh trains it again",
            )
        files = saved.files
    return Trained(trial_id, str(body["task"]), config, result, files)
