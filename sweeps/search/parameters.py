"""The axes and variables of a search space: what a sampler draws, and which configuration values follow from it.

An `Axis` is one *parameter*: a number or a label that a sampler draws. A `Variable` is one entry of the space: it has
one or more axes and sets one or more keys of the configuration, its *overrides*. `decode` converts parameters to
overrides, `encode` converts them back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.spec.trial import canonical

Params = dict[str, Any]
Overrides = dict[str, Any]
SLACK = 1e-9
"""Relative tolerance for points typed by a person: at the ends of a range, at steps, and for sums."""


class OutsideError(Exception):
    """A value that a variable cannot take. Arguments: why, and what is allowed."""


@dataclass(frozen=True)
class Axis:
    """One number or label that a sampler draws. Both ends of a range are included."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    integer: bool = False
    labels: tuple[Any, ...] = ()

    @property
    def size(self) -> int | None:
        """The number of values; None for a continuous axis."""
        if self.labels:
            return len(self.labels)
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> Any:
        """The value at an index of a finite axis."""
        if self.labels:
            return self.labels[index]
        value = self.low + index * (self.step or 0.0)
        return round(value) if self.integer else min(value, self.high)

    def suggest(self, trial: Any) -> Any:
        """Let an Optuna trial draw a value."""
        if self.labels:
            return trial.suggest_categorical(self.name, self.labels)
        if self.integer:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.name, low, high, step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def _edges(self) -> tuple[float, float]:
        """The ends on the scale of the draw, half a step wider for a stepped axis: its values are equally likely."""
        half = (self.step or 0.0) / 2
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def from_unit(self, unit: float) -> Any:
        """The value at a position in the unit interval."""
        if self.labels:
            return self.labels[min(int(unit * len(self.labels)), len(self.labels) - 1)]
        low, high = self._edges()
        value = low + unit * (high - low)
        value = math.exp(value) if self.log else value
        if self.step is None:
            return min(max(value, self.low), self.high)
        index, last = round((value - self.low) / self.step), round((self.high - self.low) / self.step)
        return self.at(min(max(index, 0), last))

    def to_unit(self, number: float) -> float:
        """The position of a number in the unit interval; inverse of `from_unit`."""
        low, high = self._edges()
        return ((math.log(number) if self.log else number) - low) / (high - low)

    def nearest(self, number: Any) -> Any:
        """A number rounded to a value of the axis. OutsideError if it differs by more than `SLACK`."""
        value, slack = finite_number(number), SLACK * max(abs(self.low), abs(self.high))
        if (self.integer and not isinstance(number, int)) or not self.low - slack <= value <= self.high + slack:
            kind = "whole numbers" if self.integer else "numbers"
            raise OutsideError("it is outside the range", f"{kind} from {self.low:g} to {self.high:g}")
        if self.step is None:
            return min(max(value, self.low), self.high)
        index = round((value - self.low) / self.step)
        if abs(self.low + index * self.step - value) > slack:
            raise OutsideError("it is between two steps", f"{self.low:g} to {self.high:g} in steps of {self.step:g}")
        return self.at(index)


@dataclass(frozen=True)
class Variable:
    """One entry of the space: a choice or a number. The subclasses `Simplex` and `Ratio` set several keys."""

    name: str
    axes: tuple[Axis, ...]
    members: tuple[str, ...] = ()
    """Last parts of the keys that it sets; empty if it sets `name` itself."""
    values: tuple[Any, ...] = ()
    """Values of a choice."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted configuration keys that this variable sets."""
        return tuple(f"{self.name}.{member}" for member in self.members) or (self.name,)

    @property
    def own_axes(self) -> tuple[Axis, ...]:
        """The ranges of its configuration keys, for figures; those of weights are logarithmic."""
        return self.axes

    def own_values(self, point: Mapping[str, Any]) -> Params:
        """The values of its configuration keys on `own_axes`, from overrides."""
        if not self.values:
            return {key: point[key] for key in self.keys}
        return {
            self.name: self.axes[0].labels[[json_text(one) for one in self.values].index(json_text(point[self.name]))]
        }

    @property
    def steers(self) -> bool:
        """Whether a `when` may refer to it: a choice or an int."""
        return bool(self.values) or self.axes[0].integer

    def settings(self) -> list[Params]:
        """All values of a finite variable, as parameters."""
        axis = self.axes[0]
        return [{axis.name: axis.at(index)} for index in range(axis.size or 0)]

    def decode(self, params: Mapping[str, Any]) -> Overrides:
        """Parameters to overrides. A stepped float is rounded to 12 digits: 0.3, not 0.30000000000000004."""
        axis, value = self.axes[0], params[self.name]
        if self.values:
            return {self.name: self.values[axis.labels.index(value)]}
        return {self.name: float(f"{value:.12g}") if axis.step and not axis.integer else value}

    def encode(self, point: Mapping[str, Any]) -> Params:
        """Overrides to parameters. OutsideError if no parameters give these overrides."""
        if not self.values:
            return {self.name: self.axes[0].nearest(point[self.name])}
        texts, given = [json_text(value) for value in self.values], json_text(point[self.name])
        if given not in texts:
            raise OutsideError("it is not one of the choices", " or ".join(texts))
        return {self.name: self.axes[0].labels[texts.index(given)]}


@dataclass(frozen=True)
class Simplex(Variable):
    """Weights that sum to one, each at least `minimum`, by stick breaking.

    The first weight is broken off the whole stick, the second off the rest, and so on. Each break is one parameter u in
    [0, 1], a scale of the log odds `weight : rest`, so that weights near either end are resolved in decades. k weights
    have k - 1 parameters, and every point of the simplex has exactly one set of parameters. Equal weights are at
    u = (k - 1) / k, so that each weight is equally likely to be the largest, whatever its position.
    """

    minimum: float = 1e-5

    @property
    def own_axes(self) -> tuple[Axis, ...]:
        most = 1 - (len(self.members) - 1) * self.minimum
        return tuple(Axis(key, self.minimum, most, log=True) for key in self.keys)

    def _scale(self, pieces: int, stick: float) -> tuple[tuple[float, float], ...]:
        """(position, log odds) of a break into `pieces` pieces: lower end, equal share, upper end."""
        others = (pieces - 1) * self.minimum
        low, high = math.log(self.minimum / (stick - self.minimum)), math.log((stick - others) / others)
        return (0.0, low), ((pieces - 1) / pieces, -math.log(pieces - 1)), (1.0, high)

    def decode(self, params: Mapping[str, Any]) -> Overrides:
        stick, weights = 1.0, []
        for cut, axis in enumerate(self.axes):
            odds = _along(self._scale(len(self.members) - cut, stick), params[axis.name])
            weights.append(max(stick / (1 + math.exp(-odds)), self.minimum))
            stick = stick / (1 + math.exp(odds))
        return dict(zip(self.keys, [*weights, max(stick, self.minimum)], strict=True))

    def encode(self, point: Mapping[str, Any]) -> Params:
        weights, params = [finite_number(point[key]) for key in self.keys], {}
        allowed = f"weights of at least {self.minimum:g} that sum to 1"
        if min(weights) < self.minimum * (1 - SLACK):
            raise OutsideError(f"one weight is {min(weights):g}", allowed)
        if abs(sum(weights) - 1) > SLACK:
            raise OutsideError(f"the weights sum to {sum(weights):.10g}", allowed)
        for cut, axis in enumerate(self.axes):
            rest = sum(weights[cut + 1 :])
            scale = self._scale(len(weights) - cut, weights[cut] + rest)
            position = _along([(odds, position) for position, odds in scale], math.log(weights[cut] / rest))
            params[axis.name] = min(max(position, 0.0), 1.0)
        return params


@dataclass(frozen=True)
class Ratio(Variable):
    """Two positive weights with a fixed sum; their ratio is drawn on a log scale."""

    total: float = 1.0

    @property
    def own_axes(self) -> tuple[Axis, ...]:
        first, second = (self.decode({self.axes[0].name: ratio}) for ratio in (self.axes[0].low, self.axes[0].high))
        return tuple(
            Axis(key, min(first[key], second[key]), max(first[key], second[key]), log=True) for key in self.keys
        )

    def decode(self, params: Mapping[str, Any]) -> Overrides:
        ratio = params[self.axes[0].name]
        return dict(zip(self.keys, (self.total * ratio / (1 + ratio), self.total / (1 + ratio)), strict=True))

    def encode(self, point: Mapping[str, Any]) -> Params:
        first, second = (finite_number(point[key]) for key in self.keys)
        if min(first, second) <= 0 or abs(first + second - self.total) > SLACK * self.total:
            raise OutsideError(
                f"the weights sum to {first + second:.10g}", f"two positive weights with the sum {self.total:g}"
            )
        return {self.axes[0].name: self.axes[0].nearest(first / second)}


def finite_number(number: Any) -> float:
    """Convert a finite number to float. OutsideError for anything else; PyYAML reads 1e-5 as text and `on` as true."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        hint = " (YAML reads 1e-5 as text: write 1.0e-5)" if isinstance(number, str) else ""
        raise OutsideError(f"{number!r} is not a finite number{hint}", "a number")
    return float(number)


def json_text(value: Any) -> str:
    """Canonical JSON, or `repr` of a value that JSON cannot represent (such as a date)."""
    try:
        return canonical(value)
    except (TypeError, ValueError):
        return repr(value)


def _along(line: Sequence[tuple[float, float]], x: float) -> float:
    """Piecewise linear interpolation at x through three points; extrapolates linearly."""
    (x0, y0), (x1, y1), (x2, y2) = line
    if x > x1 and x2 > x1:
        return y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y0
