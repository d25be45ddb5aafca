"""The configuration of a stored trial, checked to be the one that the trial's id stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.spec.trial import canonical, digest
from sweeps.store import layout
from trainables import schema


def checked_config(trial_id: str, trial: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The resolved configuration of a stored trial with `epochs` and `seed`. DamagedError if it was altered.

    The code of users that it names must be on this machine (`cluster.worker.user_code.bring_code`).
    """
    config = {**trial["config"], "epochs": epochs, "seed": trial["seed"]}
    identity = schema.identity(trial["task"], config, trial["seed"])
    if digest(identity) != trial_id and canonical(identity) != canonical(trial.get("identity")):
        raise layout.damaged(layout.trial_key(trial_id), "its configuration is not the one that its id stands for")
    return config
