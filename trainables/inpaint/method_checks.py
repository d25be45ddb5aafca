"""Checks of what a method and its network return. Each error names the file and line of the function at fault.

The checks of shape, dtype and device read attributes alone: they launch no kernel and wait for no device. The values
of an output are checked once.

Shapes: b images, 3 channels; mask_b1hw is 1 where a pixel is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables import registry
from trainables.config.code_checks import KEY, check_network, described
from trainables.errors import TrialError
from trainables.inpaint.batch import LossTerm
from trainables.training import checkpoint
from trainables.training.precision import Precision

BASES = f"{__package__}.method"
"""The module of the base classes; a fault in one of their functions is a fault of the network that they call."""
FUNCTIONS = ("training_step", "fill", "state_dict", "load_state_dict", "inference_weights")
"""What every method has, together with `parameters`."""
IMAGES = "images like the given ones: one tensor of the same shape, dtype and device, in [0, 1], without NaN"


def check_code(name: str, data_root: Path | None) -> None:  # noqa: ARG001 - signature shared by all checks
    """Import the code of a method and check its functions, before the trials start."""
    check_network(registry.find("method", name).load(), name)


# --- loss terms -------------------------------------------------------------------------------------------------------


def check_loss(code: registry.Code, term: Any) -> LossTerm:
    """The value of a loss term. Raises TrialError unless it is a scalar tensor or (sum, count)."""
    total = term[0] if isinstance(term, tuple) and len(term) == 2 else term
    if isinstance(total, Tensor) and not total.dim():
        checked: LossTerm = term
        return checked
    raise TrialError(
        f"loss: {described(code.function())}",
        f"it returned {f'a tensor {tuple(total.shape)}' if isinstance(total, Tensor) else type(total).__name__}",
        "a tensor without dimensions that is a mean over the images, or (sum, count)",
        "return error.mean(), or (error * mask).sum(), 3 * mask.sum()",
        "loss",
    )


# --- outputs ----------------------------------------------------------------------------------------------------------


def check_output(
    network: nn.Module,
    output: Any,
    like: Tensor,
    precision: Precision = Precision(),  # noqa: B008 - frozen
    build: Callable[..., nn.Module] | None = None,
) -> None:
    """Raise TrialError unless a network returned images like the given ones.

    precision: with bf16, a network may return bfloat16. build: the function that made the network, which an error names
    if the class of the network is from another package.
    """
    fault = _fault(output, like, precision.name == "bf16")
    if fault:
        raise _output_error(_source_of(network, build, "forward"), *fault)


def check_values(network: nn.Module, output: Tensor, build: Callable[..., nn.Module] | None = None) -> None:
    """Raise TrialError if an output of a network has NaN or infinite values. Waits for the device."""
    if not output.isfinite().all():
        raise _output_error(_source_of(network, build, "forward"), *NOT_FINITE)


def check_fill(method: Any, output: Any, image_b3hw: Tensor) -> None:
    """Raise TrialError unless `fill` of a method returned images like the given ones."""
    fault = _fault(output, image_b3hw)
    if fault:
        raise _output_error(_source(method, "fill", "forward"), *fault)


def check_prediction(method: Any, prediction: Any, image_b3hw: Tensor) -> None:
    """Raise TrialError unless `predict` of a `Regression` returned finite images. Waits for the device."""
    if not hasattr(prediction, "image_b3hw"):
        why = f"it returned {_kind(prediction)}, not a TrainingOutput"
        raise _output_error(_source(method, "predict", "forward"), why, "return TrainingOutput(image_b3hw)")
    output_b3hw = prediction.image_b3hw
    fault = _fault(output_b3hw, image_b3hw) or (None if output_b3hw.isfinite().all() else NOT_FINITE)
    if fault:
        raise _output_error(_source(method, "predict", "forward"), *fault)


NOT_FINITE = (
    "its first output has values that are NaN or infinite",
    "avoid the division by 0, the root or logarithm of 0, or the overflow that they come from",
)


def _fault(output: Any, like: Tensor, half: bool = False) -> tuple[str, str] | None:
    """Why an output is not like the images, and what to do; None if it is."""
    if not isinstance(output, Tensor):
        return f"it returned {_kind(output)}", "return the images alone"
    if output.shape != like.shape:
        why = f"it returned the shape {tuple(output.shape)} for images of shape {tuple(like.shape)}"
        return why, "return 3 channels and the height and width of the images"
    if output.dtype != like.dtype and not (half and output.dtype == torch.bfloat16):
        return f"it returned {output.dtype} for images of {like.dtype}", f"return output.to({like.dtype})"
    if output.device != like.device:
        why = f"it returned a tensor on {output.device} for images on {like.device}"
        return why, "make tensors with device=damaged_b3hw.device, and constants with register_buffer"
    return None


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _output_error(source: Any, why: str, fix: str) -> TrialError:
    return TrialError(described(source), why, IMAGES, fix, KEY)


def _source(method: Any, function: str, of_network: str = "") -> Any:
    """The function of a method; for one of our base classes, the network's class, or a function of it."""
    own = getattr(type(method), function)
    if own.__module__ != BASES:
        return own
    return _source_of(method.network, method.setup.build, of_network)


def _source_of(network: nn.Module, build: Callable[..., nn.Module] | None, function: str) -> Any:
    kind = type(network)
    if build is not None and kind.__module__.partition(".")[0] != build.__module__.partition(".")[0]:
        return build  # such as a torch.nn.Sequential
    return getattr(kind, function) if function else kind


# --- the objects ------------------------------------------------------------------------------------------------------


def check_built(network: Any, build: Callable[..., Any]) -> None:
    """Raise TrialError unless `build` returned a module."""
    if not isinstance(network, nn.Module):
        raise TrialError(
            described(build),
            f"it returned {_kind(network)}",
            "a torch.nn.Module, called as forward(damaged_b3hw, mask_b1hw) -> image_b3hw",
            "return the network",
            KEY,
        )


def check_method(method: Any, make: Callable[..., Any]) -> None:
    """Raise TrialError unless `make` returned an object with the functions of a method."""
    missing = [name for name in FUNCTIONS if not callable(getattr(method, name, None))]
    missing += [] if isinstance(getattr(method, "parameters", None), int) else ["parameters"]
    if missing:
        raise TrialError(
            described(make),
            f"it returned {_kind(method)}, which has no {', '.join(missing)}",
            "an object with the functions of trainables.inpaint.method.Method",
            "return a subclass of Regression or GAN, or add what is missing",
            KEY,
        )


# --- the state --------------------------------------------------------------------------------------------------------


def check_state(method: Any, state: Any) -> None:
    """Raise TrialError unless the state of a method has only what a checkpoint can store and read back."""
    for path, value in checkpoint.not_plain(state):
        raise _state_error(
            _source(method, "state_dict"),
            f"state_dict(){path} is {_kind(value)}, which a checkpoint cannot store",
            "leave it out of the state and make it from the options, or store it as a tensor or as plain data",
        )


def check_weights(method: Any, weights: Any) -> None:
    """Raise TrialError unless the weights of a method are tensors by name."""
    wrong = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if wrong:
        raise _state_error(
            _source(method, "inference_weights"),
            f"inference_weights()[{wrong[0]!r}] is {_kind(weights[wrong[0]])}, not a tensor",
            "store it as a buffer, or make it from the options (without get_extra_state)",
        )


def check_restores(method: Any) -> None:
    """Raise TrialError unless a method accepts the state that it returns, as it must when a trial continues."""
    state = method.state_dict()
    check_state(method, state)
    try:
        method.load_state_dict(state)
    except TrialError:
        raise
    except Exception as error:  # a user's function raises anything
        raise _state_error(
            _source(method, "load_state_dict"),
            f"load_state_dict(state_dict()) raised {type(error).__name__}: {error}"[:300],
            "let load_state_dict take what state_dict returns",
        ) from error


def _state_error(source: Any, why: str, fix: str) -> TrialError:
    return TrialError(
        described(source), why, "tensors, numbers, text, None, and dicts, lists and tuples of them", fix, KEY
    )
