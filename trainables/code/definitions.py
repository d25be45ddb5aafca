"""What a user's file defines, in the form that this package has for its own: options, and functions that build.

A method may be a module with `build(config, size)` (and `Config`, and `method`), a class of networks, a function that
builds a network, or a function `(image, mask) -> image`. A mask is a function `(n, size, generator)`, a loss term a
function of some of `LOSS_INPUTS`; for metrics and data sets see `metrics_and_datasets`, for tasks
`trainables.user_task.config`. Options are the further
parameters, with their annotations and defaults.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from pydantic import create_model

from trainables.code import loading
from trainables.code.metrics_and_datasets import METRIC_INPUTS, change, dataset, datasets_in, metric
from trainables.code.references import Resolved
from trainables.code.signatures import error as _error
from trainables.code.signatures import options as _options
from trainables.code.signatures import parameters as _parameters
from trainables.code.signatures import place
from trainables.config.code_checks import check_config
from trainables.config.model_sections import DetectorConfig, ModelConfig, StackConfig
from trainables.config.sections import StrictConfig
from trainables.errors import TrialError
from trainables.user_task.config import INPUTS as TASK_INPUTS
from trainables.user_task.config import task, tasks_in

LOSS_INPUTS = {
    "prediction": "prediction_b3hw",
    "target": "target_b3hw",
    "mask": "mask_b1hw",
    "prediction_b3hw": "prediction_b3hw",
    "target_b3hw": "target_b3hw",
    "mask_b1hw": "mask_b1hw",
    "known_weight": "known_weight",
    "features": "features",
}
"""What a loss term may ask for by the name of a parameter, and the input of our own terms that it is."""
MASK_INPUTS = ("n", "size", "generator")
_KINDS = {"detect": "detector", "stack": "ensemble", "match": "matcher"}
_CONFIGS = {"method": ModelConfig, "detector": DetectorConfig, "ensemble": StackConfig, "matcher": ModelConfig}


class UntrainedConfig(ModelConfig):
    """Base of the options of a user's network or function that is not trained."""

    trains: ClassVar[bool] = False


@dataclass(frozen=True)
class Definition:
    """A class or function of a user, with its options."""

    config: type[StrictConfig]
    code: Any
    """A method: an object with `build` and perhaps `method`, as our modules have. Otherwise a function."""
    inputs: tuple[str, ...] = ()
    """Of a loss term: the inputs of our own terms that it takes, in the order of its parameters. Of other
    functions and data sets: what they ask for."""


class NetworkModule:
    """A module of a method, made of a class or function that builds a network from options."""

    def __init__(self, make: Callable[..., Any], options: tuple[str, ...], takes_size: bool) -> None:
        self._make, self._options, self._takes_size = make, options, takes_size

    def build(self, config: Any, size: int) -> Any:
        arguments = {name: getattr(config, name) for name in self._options}
        return self._make(**arguments, **({"size": size} if self._takes_size else {}))


def define(kind: str, name: Resolved) -> Definition:
    """What a resolved name means. Imports the user's file, and torch if it does.

    Raises TrialError if the file fails when it is imported, or does not define one thing of this kind.
    """
    module = load(name)
    if kind in _CONFIGS:
        return _method(kind, module, name)
    if kind == "dataset":
        item = _item(module, name, lambda: datasets_in(_classes(module), _functions(module)), "data set")
        config, inputs = dataset(item, name)
        return Definition(config, item, inputs)
    if kind == "task":
        function = _item(module, name, lambda: tasks_in(_functions(module)), "function with a parameter `context`")
    else:
        function = _item(module, name, lambda: _functions(module), "function")
    if not callable(function):
        raise _error(name, f"{name.item} is not a function", "a function", "name a function")
    if kind == "task":
        inputs = tuple(one for one in TASK_INPUTS if one in _parameters(function))
        return Definition(task(function, module, name), function, inputs)
    if kind in METRIC_INPUTS:
        config, inputs = metric(kind, function, module, name)
        return Definition(config, function, inputs)
    if kind == "change":
        config, inputs = change(function, name)
        return Definition(config, function, inputs)
    return _loss(function, name) if kind == "loss" else _mask(function, name)


def model_kind(name: Resolved) -> str:
    """The kind of a model: that of the base of its `Config`; `method` for a file without one."""
    config = getattr(load(name), "Config", ModelConfig)
    return _KINDS.get(getattr(config, "task", "inpaint"), "method")


def load(name: Resolved) -> ModuleType:
    """Import the module of a name. Raises TrialError if that fails."""
    try:
        return loading.load(name.hash, name.module)
    except TrialError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise _error(
            name,
            f"importing it failed on {platform.node()}: {error} ({place(error, name.file)})",
            "packages that are installed on every machine that runs trials",
            f"pip install {package or 'what is missing'} there",
        ) from error
    except FileNotFoundError as error:
        raise _error(
            name,
            f"importing it raised FileNotFoundError: {error} ({place(error, name.file)})",
            "files that the source names, at or below its folder: they belong to the code, and are found on every node",
            'name the file, for example Path(__file__).parent / "FILE", or make its path an option',
        ) from error
    except (Exception, SystemExit) as error:
        program = "; a whole program is named by `run` of task command" if isinstance(error, SystemExit) else ""
        raise _error(
            name,
            f"importing it raised {type(error).__name__}: {error} ({place(error, name.file)})",
            "a file that can be imported without side effects",
            f"correct the line; code that is to run once belongs below `if __name__ == '__main__':`{program}",
        ) from error


def _item(module: ModuleType, name: Resolved, candidates: Callable[[], list[Any]], what: str) -> Any:
    """The named thing of a module, or the only one of its kind."""
    if name.item:
        if not hasattr(module, name.item):
            defined = ", ".join(sorted(key for key, one in vars(module).items() if is_own(one, module))) or "nothing"
            raise _error(name, f"it does not define {name.item}", f"what it defines: {defined}", f"./{name.file}:NAME")
        return getattr(module, name.item)
    found = candidates()
    if not found:
        raise _error(name, f"it defines no {what}", f"one {what}, or FILE.py:NAME", f"define a {what}")
    if len(found) > 1:
        raise _error(
            name,
            f"it defines {', '.join(one.__name__ for one in found)}, and the name does not say which is meant",
            f"one {what}, or FILE.py:NAME",
            f"name one of them: ./{name.file}:{found[0].__name__}",
        )
    return found[0]


def is_own(value: Any, module: ModuleType) -> bool:
    """Whether a class or function is defined in a module, and not imported by it."""
    return getattr(value, "__module__", None) == module.__name__


def _classes(module: ModuleType) -> list[Any]:
    return [one for one in vars(module).values() if inspect.isclass(one) and is_own(one, module)]


def _functions(module: ModuleType) -> list[Any]:
    functions = [one for one in vars(module).values() if inspect.isfunction(one) and is_own(one, module)]
    return [one for one in functions if not one.__name__.startswith("_")]


# --- methods ----------------------------------------------------------------------------------------------------------


def _method(kind: str, module: ModuleType, name: Resolved) -> Definition:
    if not name.item and hasattr(module, "build"):
        return Definition(_config(kind, module, name), module)
    if kind != "method":
        raise _error(
            name,
            f"it has no function `build`, which a {kind} needs",
            "Config and build(config, size)",
            "define them in the file",
        )
    item = _item(module, name, lambda: _networks(module), "network with forward(image, mask) or function of them")
    parameters = _parameters(item)
    if is_fill(item):
        options = _options(item, parameters, ("image", "damaged", "mask"), name, UntrainedConfig)
        return Definition(options, NetworkModule(_fill_of(item), tuple(options.model_fields), False))
    takes_size = "size" in parameters
    base = ModelConfig if getattr(item, "trains", True) else UntrainedConfig
    options = _options(item, parameters, ("size",), name, base)
    _check_forward(item, name)
    return Definition(options, NetworkModule(item, tuple(options.model_fields), takes_size))


def _config(kind: str, module: ModuleType, name: Resolved) -> type[StrictConfig]:
    """The `Config` of a file with `build`; one without options if it has none."""
    base = _CONFIGS[kind]
    config = getattr(module, "Config", None)
    if config is None and kind == "method":
        return create_model("Config", __base__=base)
    checked: type[StrictConfig] = check_config(module, name.file, base)
    return checked


def _networks(module: ModuleType) -> list[Any]:
    """The networks that a file defines: classes that take an image and a mask, else any, else functions that do."""
    from torch import nn

    networks = [one for one in _classes(module) if issubclass(one, nn.Module)]
    whole = [one for one in networks if _takes_image_and_mask(one)]
    return whole or networks or [one for one in _functions(module) if is_fill(one)]


def is_fill(item: Any) -> bool:
    """Whether this is a function that fills images, and not a class or a function that builds a network."""
    return not inspect.isclass(item) and tuple(_parameters(item))[:2] in (("image", "mask"), ("damaged", "mask"))


def _takes_image_and_mask(network: Any) -> bool:
    return len(_parameters(network.forward)) >= 3  # with self


def _check_forward(item: Any, name: Resolved) -> None:
    if inspect.isclass(item) and hasattr(item, "forward") and not _takes_image_and_mask(item):
        raise _error(
            name,
            f"{item.__name__}.forward takes {max(0, len(_parameters(item.forward)) - 1)} argument(s)",
            "forward(self, image, mask): the image with 0 in its holes, in [0, 1], and the mask, 1 in the holes",
            "add the parameter `mask`; a network that does not need it may ignore it",
        )


def _fill_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A class of networks without parameters that call a function."""

    def make(**options: Any) -> Any:
        from torch import nn

        class Fill(nn.Module):
            def forward(self, damaged_b3hw: Any, mask_b1hw: Any) -> Any:
                return function(damaged_b3hw, mask_b1hw, **options)

        return Fill()

    return make


# --- losses and masks -------------------------------------------------------------------------------------------------


def _loss(function: Any, name: Resolved) -> Definition:
    parameters = _parameters(function)
    unknown = [one for one in parameters if one not in LOSS_INPUTS]
    if unknown:
        raise _error(
            name,
            f"{function.__name__} has a parameter {unknown[0]!r}, which is no input of a loss term",
            ", ".join(LOSS_INPUTS),
            f"rename it, or set a constant in {name.file}",
        )
    return Definition(StrictConfig, function, tuple(LOSS_INPUTS[one] for one in parameters))


def _mask(function: Any, name: Resolved) -> Definition:
    parameters = _parameters(function)
    if tuple(parameters)[:3] != MASK_INPUTS:
        raise _error(
            name,
            f"{function.__name__} takes ({', '.join(parameters)})",
            "(n, size, generator, *, options): n masks of size x size px, drawn with the generator; returns 1 in holes",
            f"def {function.__name__}(n, size, generator):",
        )
    return Definition(_options(function, parameters, MASK_INPUTS, name, StrictConfig), function)
