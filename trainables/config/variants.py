"""Sections of a configuration that say by name which variant they are, checked; shared by all tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainables.config.messages import unknown, validated
from trainables.config.sections import OPTIMISERS, SCHEDULES, Strict
from trainables.errors import TrialError
from trainables.registry import mask_configs, model_config, model_names

LABEL = re.compile(r"[a-z][a-z0-9]*$")
"""What may end the name of a column: a mask of `test_masks`, a set of `test_sets`, a change of `test_changes`."""


def choose(section: str, value: Any, task: str = "inpaint") -> type[Strict]:
    """The class of the variant that a section names."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise TrialError(
            f"{section}: {value!r}", "it does not say which", "{name: ..., options}", f"{section}: {{name: ...}}"
        )
    name = value["name"]
    if section == "model":
        if name not in model_names(task):
            raise unknown("model.name", name, model_names(task), "model.name")
        return model_config(name)
    choices = {"mask": mask_configs(), "schedule": SCHEDULES}.get(section, OPTIMISERS)
    if name not in choices:
        raise unknown(f"{section}.name", name, tuple(choices), f"{section}.name")
    return choices[name]


def chosen(section: str, value: Any) -> dict[str, Any] | None:
    """A section with its defaults; null where it is not given."""
    return None if value is None else validated(section, choose(section, value), value)


def unless(usual: Any, key: str, config_class: type[Strict], config: Mapping[str, Any]) -> Any:
    """A key's value; null where it is the usual one, so that identities stay what they were without the key."""
    value = validated("", config_class, {key: config.get(key)})[key]
    return None if value == usual else value


def labelled(key: str, value: Any, one: str, example: str) -> dict[str, Any]:
    """What a mapping holds whose labels end the names of columns; a label with null is one that is taken out.

    one: what stands under a label; example: a label with such a thing. Both are for the error.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(label, str) and LABEL.match(label) for label in value):
        raise TrialError(
            f"{key}: {value!r}"[:200],
            "it is no mapping of labels, which end the names of columns",
            f"{{label: {one}}}, labels of lower-case letters and digits that begin with a letter",
            f"{key}: {{{example}}}",
            key,
        )
    return {label: item for label, item in value.items() if item is not None}


def test_masks(value: Any) -> dict[str, Any] | None:
    """Mask sections by label; null where there are none. A label with null is one that is taken out."""
    given = labelled("test_masks", value, "{name: ..., options}", "lines: {name: lines}")
    return {
        label: validated(f"test_masks.{label}", choose("mask", mask), mask) for label, mask in given.items()
    } or None


def options(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def without_none(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the options that are off, at any depth; None stays where it stands in a list."""
    return {key: _without_none(item) for key, item in section.items() if item is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_none(value)
    return [_without_none(item) for item in value] if isinstance(value, list) else value
