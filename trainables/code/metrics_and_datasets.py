"""Metrics, data sets and changes of test images that a user's file defines: what they may take, and their options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from pydantic import create_model

from trainables.code.references import Resolved
from trainables.code.signatures import error, options, parameters
from trainables.config.sections import DataConfig, MetricConfig, StrictConfig

METRIC_INPUTS: Mapping[str, tuple[str, ...]] = {
    "metric": ("prediction", "target", "mask", "output"),
    "detection_metric": ("probability", "label", "box", "true_box"),
}
"""What a metric may ask for by the name of a parameter, for tasks `inpaint` and `detect`; see
`trainables.inpaint.task` and `trainables.detect.task`."""
DATASET_INPUTS = ("split", "root", "size")
"""What a data set may ask for: train, val or test; the data root, a path; the side of the images, px."""
CHANGE_INPUTS = ("image", "generator")
"""What a change of a detector's test images may ask for: an image (3, h, w) in [0, 1], and its generator."""
DIRECTIONS = ("max", "min")


def metric(
    kind: str, function: Callable[..., Any], module: ModuleType, name: Resolved
) -> tuple[type[StrictConfig], tuple[str, ...]]:
    """The class of the options of a metric, and the names of its inputs.

    The direction is the attribute `better` of the function, else of its module. Raises TrialError for a parameter that
    is neither an input nor has a default.
    """
    given, inputs = parameters(function), METRIC_INPUTS[kind]
    label = getattr(function, "__name__", str(name.item))
    for one in given.values():
        variable = one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        if one.name == "better":
            fix = f'rename it, and write {label}.better = "max" below the function'
            raise error(
                name, f"{label} has a parameter 'better', which is the direction of a metric", "other names", fix
            )
        if one.name not in inputs and one.default is one.empty and not variable:
            raise error(
                name,
                f"{label} has a parameter {one.name!r}, which is no input of a metric",
                f"{', '.join(inputs)}; a parameter with a default is an option",
                f"rename it, or give it a default in {name.file}",
            )
    better = getattr(function, "better", getattr(module, "better", None))
    if better not in (None, *DIRECTIONS):
        raise error(name, f"`better` is {better!r}", '"max" or "min"', 'better = "max"')
    fields: dict[str, Any] = {"better": (MetricConfig.model_fields["better"].annotation, better)}
    base = create_model("Config", __base__=MetricConfig, **fields)
    return options(function, given, inputs, name, base), tuple(one for one in given if one in inputs)


def dataset(item: Any, name: Resolved) -> tuple[type[StrictConfig], tuple[str, ...]]:
    """The class of the options of a data set, and the names of its inputs.

    Raises TrialError for a class without items, and for options with the names of keys of `data`.
    """
    given = parameters(item)
    if inspect.isclass(item) and not (hasattr(item, "__len__") and hasattr(item, "__getitem__")):
        raise error(
            name,
            f"{item.__name__} has no `__len__` and `__getitem__`",
            "a class with both, such as a torch Dataset, or a function that returns an object with both",
            "define them, or return a list of images from a function",
        )
    for one in given:
        if one in DataConfig.model_fields and one not in (*DATASET_INPUTS, "path"):
            raise error(
                name,
                f"{item.__name__} has a parameter {one!r}, which is a key of every `data` section: "
                f"{DataConfig.model_fields[one].description}",
                f"{', '.join(DATASET_INPUTS)}, and options with other names",
                "take `split`, which is train, val or test" if one in ("train", "val", "test") else f"rename {one!r}",
            )
    return options(item, given, DATASET_INPUTS, name, StrictConfig), tuple(
        one for one in given if one in DATASET_INPUTS
    )


def change(function: Callable[..., Any], name: Resolved) -> tuple[type[StrictConfig], tuple[str, ...]]:
    """The class of the options of a change of test images, and the names of its inputs."""
    given = parameters(function)
    if "image" not in given:
        raise error(
            name,
            f"{getattr(function, '__name__', name.item)} takes ({', '.join(given)})",
            "(image, generator, *, options): an image (3, h, w) in [0, 1], and a generator where it draws at random",
            "name the first parameter `image`",
        )
    return options(function, given, CHANGE_INPUTS, name, StrictConfig), tuple(
        one for one in given if one in CHANGE_INPUTS
    )


def datasets_in(classes: list[Any], functions: list[Any]) -> list[Any]:
    """Those of a module's own classes that have items, else its functions."""
    return [one for one in classes if hasattr(one, "__getitem__")] or functions
