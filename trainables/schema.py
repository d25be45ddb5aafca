"""Checks the configurations of all tasks and returns them as plain data; imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trainables import registry
from trainables.code import references
from trainables.config.data_paths import DataPath
from trainables.config.sections import Needs
from trainables.config.task_config import TaskConfig
from trainables.user_task.config import UserTaskConfig

TASKS = registry.names("task")


def resolve(task: str, config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """A complete configuration with every default filled in, as plain data. Options that are off are left out or null.

    task: as a sweep file names it; what the name of a user's task means is part of `user_code`.
    folder: of the sweep file, for names of files; None for a stored plan, whose names of files are pinned in
    `user_code`. A model without parameters has no epochs. Raises TrialError with the key, the reason and the allowed
    values.
    """
    if task in TASKS:
        return _config(task).resolve(config, folder)
    code = dict(config.get("user_code") or {})
    name = registry.resolve_name("task", task, {"folder": folder, "user_code": code})
    resolved = registry.find("task", name).config.resolve({**config, "user_code": code}, folder)
    return resolved if name == task else {**resolved, "user_code": {**resolved.get("user_code", {}), task: name}}


def identity(task: str, resolved: dict[str, Any], seed: int) -> dict[str, Any]:
    """The part of a resolved configuration that decides the outcome; see `sweeps.spec.trial.Trial`.

    Options that are off (null) are left out, so that a new option does not change the identity of older trials.
    `epochs` is left out unless a schedule or the phases are given as shares of the epochs.
    """
    return {"task": task, **_config(task).identity(resolved, seed)}


def needs(task: str, resolved: dict[str, Any], seed: int) -> Needs:
    """What must be in the store before a trial with this configuration can start."""
    needs = _config(task).needs(resolved, seed)
    return replace(needs, code=code_of(task, resolved))


def code_of(task: str, resolved: dict[str, Any]) -> tuple[str, ...]:
    """The hashes of the user's code that a configuration names."""
    return tuple(dict.fromkeys((*references.hashes([task]), *_config(task).code_of(resolved))))


def data_paths(task: str, resolved: dict[str, Any]) -> tuple[DataPath, ...]:
    """The folders and files below the data root that a trial reads, each once."""
    return tuple(dict.fromkeys(_config(task).data_paths(resolved)))


def trains(resolved: dict[str, Any]) -> bool:
    """Whether the model has parameters to train; a program, which has no `model`, always trains."""
    if "model" not in resolved:
        return True
    trained: bool = registry.model(resolved["model"]["name"]).config.trains
    return trained


def _config(task: str) -> type[TaskConfig]:
    """The class of a task's configurations; for a user's task its base class, which does not need the user's code."""
    return UserTaskConfig if references.parse(task) else registry.find("task", task).config
