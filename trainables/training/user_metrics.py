"""Metrics that a user's functions compute: one value for each image, from the inputs that they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainables import registry
from trainables.code.signatures import place
from trainables.config.code_checks import described
from trainables.errors import TrialError
from trainables.training.distributed import Workers


class UserMetric:
    """A user's function with its options."""

    def __init__(self, kind: str, label: str, section: Mapping[str, Any]) -> None:
        """kind: one of `registry.METRICS`. section: {name: ..., better: ..., options}."""
        code = registry.find(kind, section["name"])
        self.label, self.inputs, self._function = label, code.inputs, code.function()
        self._options = code.options(section).model_dump(exclude={"better"})

    def values(self, inputs: Mapping[str, Tensor], images: int) -> Tensor:
        """value_b, one for each image, float64. Raises TrialError if the function does not return that.

        The function runs without gradients, and what it draws at random does not change the trial.
        """
        given = {name: inputs[name] for name in self.inputs}
        versions = [value._version for value in given.values()]
        devices = {value.device for value in given.values() if value.device.type == "cuda"}
        with torch.no_grad(), torch.random.fork_rng(devices=list(devices)):
            torch.manual_seed(0)
            try:
                value_b = self._function(**given, **self._options)
            except TrialError:
                raise
            except Exception as error:
                why = f"it raised {type(error).__name__}: {error} ({place(error, described(self._function))})"
                raise self._error(
                    why, "a function that accepts every batch", "sweeps describe ./FILE.py tells what it gets"
                ) from error
        if versions != [value._version for value in given.values()]:
            why = "it changes its arguments in place, which other metrics get too"
            raise self._error(why, "operations that return new tensors", "x = x * mask, not x *= mask")
        return self._checked(value_b, images)

    def _checked(self, value_b: Any, images: int) -> Tensor:
        allowed = f"one number for each image: a tensor ({images},) for {images} images"
        if not isinstance(value_b, Tensor):
            raise self._error(f"it returned {type(value_b).__name__}", allowed, "return a tensor")
        if value_b.shape != (images,):
            raise self._error(
                f"it returned a tensor {tuple(value_b.shape)} for {images} images",
                allowed,
                "return error.mean((1, 2, 3))",
            )
        if value_b.is_complex():
            raise self._error("it returned complex numbers", allowed, "return value.abs()")
        return value_b.double()

    def not_finite_error(self, bad: int, images: int) -> TrialError:
        """The error for values that are NaN or infinite although the prediction is not."""
        return self._error(
            f"it returned NaN or infinity for {bad} of {images} images",
            "a finite number for each image",
            "divide by mask.sum((1, 2, 3)).clamp(min=1), for example",
        )

    def _error(self, why: str, allowed: str, fix: str) -> TrialError:
        return TrialError(
            f"metric {self.label}: {described(self._function)}", why, allowed, fix, f"metrics.{self.label}"
        )


def of_config(kind: str, config: Mapping[str, Any]) -> tuple[UserMetric, ...]:
    """The metrics of a resolved configuration."""
    return tuple(UserMetric(kind, label, section) for label, section in (config.get("metrics") or {}).items())


class UserMeter:
    """Means of users' metrics over the images of a split, batch by batch."""

    def __init__(self, metrics: tuple[UserMetric, ...]) -> None:
        self._metrics = metrics
        self._totals = torch.zeros(len(metrics), 3, dtype=torch.float64)  # sum, images, values that are not finite

    def update(self, inputs: Mapping[str, Tensor], valid_b: Tensor) -> None:
        """Add a batch. valid_b: the images whose prediction is finite; only of these, other values are an error."""
        for row, metric in enumerate(self._metrics):
            value_b = metric.values(inputs, len(valid_b))
            bad = valid_b.to(value_b.device) & ~value_b.isfinite()
            self._totals = self._totals.to(value_b.device)
            self._totals[row] += torch.stack([value_b.sum(), value_b.new_full((), len(value_b)), bad.sum().double()])

    def compute(self, workers: Workers, device: torch.device) -> dict[str, float]:
        """The means by label, over the images of all workers. Raises TrialError on all of them for bad values."""
        if not self._metrics:
            return {}
        totals = workers.sum(self._totals.to(device)).cpu()
        for metric, (_, images, bad) in zip(self._metrics, totals.tolist(), strict=True):
            if bad:
                error = metric.not_finite_error(int(bad), int(images))
                error.everywhere = True
                raise error
        return {
            metric.label: total / images
            for metric, (total, images, _) in zip(self._metrics, totals.tolist(), strict=True)
        }
