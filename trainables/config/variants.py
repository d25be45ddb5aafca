"""Checks the sections of a configuration that choose a variant by `name`, and mappings of labels; for all tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainables.config.messages import unknown_name_error, validated
from trainables.config.sections import OPTIMISERS, SCHEDULES, StrictConfig
from trainables.errors import TrialError
from trainables.registry import mask_configs, model_config, model_names

LABEL = re.compile(r"[a-z][a-z0-9]*$")
"""A label of `test_masks`, `test_sets` or `test_changes`, which becomes the suffix of a column."""


def variant_class(section: str, value: Any, task: str = "inpaint") -> type[StrictConfig]:
    """The configuration class of the variant that a section names."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise TrialError(
            f"{section}: {value!r}", "it has no `name`", "{name: ..., options}", f"{section}: {{name: ...}}"
        )
    name = value["name"]
    if section == "model":
        if name not in model_names(task):
            raise unknown_name_error("model.name", name, model_names(task), "model.name")
        return model_config(name)
    choices = {"mask": mask_configs(), "schedule": SCHEDULES}.get(section, OPTIMISERS)
    if name not in choices:
        raise unknown_name_error(f"{section}.name", name, tuple(choices), f"{section}.name")
    return choices[name]


def optional_section(section: str, value: Any) -> dict[str, Any] | None:
    """A section with its defaults filled in; None if the section is not given."""
    return None if value is None else validated(section, variant_class(section, value), value)


def omit_default(usual: Any, key: str, config_class: type[StrictConfig], config: Mapping[str, Any]) -> Any:
    """The value of a key; None if it is the usual value, so that writing it does not change a trial's identity."""
    value = validated("", config_class, {key: config.get(key)})[key]
    return None if value == usual else value


def labelled_sections(key: str, value: Any, one: str, example: str) -> dict[str, Any]:
    """The items of a mapping by label, without those that are null. Labels become suffixes of columns.

    one: the form of an item, for the error. example: a label with an item, for the error.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(label, str) and LABEL.match(label) for label in value):
        raise TrialError(
            f"{key}: {value!r}"[:200],
            "it is not a mapping from labels, which become suffixes of columns",
            f"{{label: {one}}}; labels have lower-case letters and digits and begin with a letter",
            f"{key}: {{{example}}}",
            key,
        )
    return {label: item for label, item in value.items() if item is not None}


def test_masks(value: Any) -> dict[str, Any] | None:
    """Mask sections by label, without those that are null; None if there are none."""
    masks = labelled_sections("test_masks", value, "{name: ..., options}", "lines: {name: lines}")
    return {
        label: validated(f"test_masks.{label}", variant_class("mask", mask), mask) for label, mask in masks.items()
    } or None


def section_options(section: dict[str, Any]) -> dict[str, Any]:
    """A section without its `name`."""
    return {key: value for key, value in section.items() if key != "name"}


def without_none(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the options that are None, at any depth; None in a list is kept."""
    return {key: _without_none(item) for key, item in section.items() if item is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_none(value)
    return [_without_none(item) for item in value] if isinstance(value, list) else value
