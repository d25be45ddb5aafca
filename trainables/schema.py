"""Checks the configurations of all tasks and returns them as plain data; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from trainables.config.messages import unknown_name_error
from trainables.config.sections import Needs
from trainables.detect import config as detect_config
from trainables.inpaint import config as inpaint_config
from trainables.match import config as match_config
from trainables.registry import model_config
from trainables.stack import config as stack_config


class TaskSchema(Protocol):
    """The functions that `trainables/<task>/config.py` defines."""

    def resolve(self, config: dict[str, Any]) -> dict[str, Any]: ...

    def identity(self, resolved: dict[str, Any], seed: int) -> dict[str, Any]: ...

    def needs(self, resolved: Mapping[str, Any], seed: int) -> Needs: ...


_OF_TASK: dict[str, TaskSchema] = {
    "inpaint": inpaint_config,
    "detect": detect_config,
    "stack": stack_config,
    "match": match_config,
}
TASKS = tuple(_OF_TASK)


def resolve(task: str, config: dict[str, Any]) -> dict[str, Any]:
    """A complete configuration with every default filled in, as plain data. Options that are off are left out or null.

    A model without parameters has no epochs. Raises TrialError with the key, the reason and the allowed values.
    """
    if task not in TASKS:
        raise unknown_name_error("task", task, TASKS)
    return _OF_TASK[task].resolve(config)


def identity(task: str, resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.spec.trial.Trial`.

    Options that are off (null) are left out, so that a new option does not change the identity of older trials.
    `epochs` is left out unless a schedule or the phases are given as shares of the epochs.
    """
    return {"task": task, **_OF_TASK[task].identity(resolved, seed)}


def needs(task: str, resolved: dict[str, Any], seed: int) -> Needs:
    """What must be in the store before a trial with this configuration can start."""
    return _OF_TASK[task].needs(resolved, seed)


def trains(resolved: dict[str, Any]) -> bool:
    """Whether the model has parameters to train."""
    return model_config(resolved["model"]["name"]).trains
