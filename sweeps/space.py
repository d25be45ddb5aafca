"""The search-space grammar of a sweep file, and what it means in configurations and for samplers.

    model.width:        {choice: [32, 64]}                     any JSON values
    optimiser.lr:       {float: [1.0e-4, 1.0e-2], log: true}   or `step:`; both ends belong to it
    batch:              {int: [16, 128], step: 16}             or `log: true`
    optimiser.momentum: {float: [0.0, 0.99], when: {optimiser.name: sgd}}
    loss:               {simplex: [l2, adversarial], min: 1.0e-5}
    loss:               {ratio: [alpha, beta], range: [0.01, 100], total: 1.0}

Keys are dotted configuration keys. `when` names a `choice` or an `int` of the space, with one value or a list of
values; several conditions must all hold.

**simplex**: weights of at least `min` (1.0e-5 if not given) that sum to one. The first is cut from the whole, the
second from what is left, and so on; a cut is made at a position u in [0, 1] that runs along the logarithm of the odds
`weight : rest`, so that `min` and its opposite end are both resolved in decades. One parameter a cut, named
`loss.simplex.l2`: k weights have k - 1 parameters, and every point of the simplex exactly one set of them. The equal
share lies at u = (k - 1) / k, which gives each of k weights the same chance of the upper hand, whatever its place.

**ratio**: alpha : beta, uniform in the logarithm between the ends of `range` (0.01 to 100 if not given); both are
scaled to sum to `total` (1 if not given): the ratio changes and the sum does not. Its parameter is `loss.ratio`.

A *parameter* is what a sampler draws (`Axis`), an *override* what the configuration gets (`Variable.decode`).
"""

from __future__ import annotations

import graphlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sweeps.errors import SweepError
from sweeps.trial import canonical

Params = dict[str, Any]
Overrides = dict[str, Any]
_SLACK = 1e-9  # how far a point that a person typed may lie beyond an end, a step or a sum, relatively
_KINDS = {  # kind: (its options, an example)
    "choice": ((), "{choice: [32, 64]}"),
    "float": (("log", "step"), "{float: [1.0e-4, 1.0e-2], log: true}"),
    "int": (("log", "step"), "{int: [16, 128], step: 16}"),
    "simplex": (("min",), "{simplex: [l2, adversarial], min: 1.0e-5}"),
    "ratio": (("range", "total"), "{ratio: [alpha, beta], range: [0.01, 100]}"),
}


class _OutsideError(Exception):
    """A value that a variable cannot take: why, what is allowed."""


@dataclass(frozen=True)
class Axis:
    """One number or label that a sampler draws; the ends of a number are included."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    integer: bool = False
    labels: tuple[Any, ...] = ()

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuous axis."""
        if self.labels:
            return len(self.labels)
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> Any:
        """The value with this index, of a finite axis."""
        if self.labels:
            return self.labels[index]
        value = self.low + index * (self.step or 0.0)
        return round(value) if self.integer else min(value, self.high)

    def suggest(self, trial: Any) -> Any:
        """Let an Optuna trial draw it."""
        if self.labels:
            return trial.suggest_categorical(self.name, self.labels)
        if self.integer:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.name, low, high, step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def _edges(self) -> tuple[float, float]:
        """The ends on the scale of the draw; each value of a stepped axis has an equal share around it."""
        half = (self.step or 0.0) / 2
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def from_unit(self, unit: float) -> Any:
        """The value at a position in [0, 1]."""
        if self.labels:
            return self.labels[min(int(unit * len(self.labels)), len(self.labels) - 1)]
        low, high = self._edges()
        value = low + unit * (high - low)
        value = math.exp(value) if self.log else value
        if self.step is None or self.size is None:
            return min(max(value, self.low), self.high)
        return self.at(min(max(round((value - self.low) / self.step), 0), self.size - 1))

    def to_unit(self, number: float) -> float:
        """The position of a number, in [0, 1]."""
        low, high = self._edges()
        return ((math.log(number) if self.log else number) - low) / (high - low)

    def nearest(self, number: Any) -> Any:
        """A number as the axis has it; _OutsideError where it is not one of its values."""
        value, slack = _real(number), _SLACK * max(abs(self.low), abs(self.high))
        if (self.integer and not isinstance(number, int)) or not self.low - slack <= value <= self.high + slack:
            kind = "whole numbers" if self.integer else "numbers"
            raise _OutsideError("it lies outside the range", f"{kind} from {self.low:g} to {self.high:g}")
        if self.step is None:
            return min(max(value, self.low), self.high)
        index = round((value - self.low) / self.step)
        if abs(self.low + index * self.step - value) > slack:
            raise _OutsideError("it lies between two steps", f"{self.low:g} to {self.high:g} in steps of {self.step:g}")
        return self.at(index)


@dataclass(frozen=True)
class Variable:
    """One entry of the space: a choice or a number; `Simplex` and `Ratio` set several keys."""

    name: str
    axes: tuple[Axis, ...]
    members: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted configuration keys that it sets."""
        return tuple(f"{self.name}.{member}" for member in self.members) or (self.name,)

    def decode(self, params: Mapping[str, Any]) -> Overrides:
        """What the configuration gets. A float's steps are rounded to 12 digits: 0.3, not 0.30000000000000004."""
        axis, value = self.axes[0], params[self.name]
        if self.values:
            return {self.name: self.values[axis.labels.index(value)]}
        return {self.name: float(f"{value:.12g}") if axis.step and not axis.integer else value}

    def encode(self, point: Mapping[str, Any]) -> Params:
        """The parameters that give these overrides; _OutsideError where none do."""
        if not self.values:
            return {self.name: self.axes[0].nearest(point[self.name])}
        texts, given = [_text(value) for value in self.values], _text(point[self.name])
        if given not in texts:
            raise _OutsideError("it is none of the choices", " or ".join(texts))
        return {self.name: self.axes[0].labels[texts.index(given)]}


@dataclass(frozen=True)
class Simplex(Variable):
    """Weights that sum to one, each at least `minimum`; the module's text has the parametrisation."""

    minimum: float = 1e-5

    def _scale(self, pieces: int, stick: float) -> tuple[tuple[float, float], ...]:
        """(position, log odds) of a cut into `pieces` pieces: lower end, equal share, upper end."""
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
        weights, params = [_real(point[key]) for key in self.keys], {}
        allowed = f"weights of at least {self.minimum:g} that sum to 1"
        if min(weights) < self.minimum * (1 - _SLACK):
            raise _OutsideError(f"one is {min(weights):g}", allowed)
        if abs(sum(weights) - 1) > _SLACK:
            raise _OutsideError(f"they sum to {sum(weights):.10g}", allowed)
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

    def decode(self, params: Mapping[str, Any]) -> Overrides:
        ratio = params[self.axes[0].name]
        return dict(zip(self.keys, (self.total * ratio / (1 + ratio), self.total / (1 + ratio)), strict=True))

    def encode(self, point: Mapping[str, Any]) -> Params:
        first, second = (_real(point[key]) for key in self.keys)
        if min(first, second) <= 0 or abs(first + second - self.total) > _SLACK * self.total:
            raise _OutsideError(
                f"they sum to {first + second:.10g}", f"two positive weights with the sum {self.total:g}"
            )
        return {self.axes[0].name: self.axes[0].nearest(first / second)}


@dataclass(frozen=True)
class Space:
    """A parsed space. raw: as given; when: by variable, the keys that must have one of some values."""

    raw: dict[str, Any]
    variables: tuple[Variable, ...]
    when: Mapping[str, Mapping[str, tuple[Any, ...]]]

    @property
    def conditional(self) -> bool:
        return bool(self.when)

    def axes(self, always: bool = False) -> list[Axis]:
        """All axes; with `always`, those that every configuration has."""
        return [axis for v in self.variables if not (always and v.name in self.when) for axis in v.axes]

    def active(self, variable: Variable, overrides: Mapping[str, Any]) -> bool:
        """Whether a variable is set, given the overrides of those before it."""
        conditions = self.when.get(variable.name, {})
        return all(key in overrides and overrides[key] in values for key, values in conditions.items())

    def suggest(self, trial: Any) -> Overrides:
        """Let an Optuna trial draw what is active; the overrides for the base configuration."""
        overrides: Overrides = {}
        for variable in self.variables:
            if self.active(variable, overrides):
                overrides |= variable.decode({axis.name: axis.suggest(trial) for axis in variable.axes})
        return overrides

    def overrides_of(self, params: Mapping[str, Any]) -> Overrides:
        """The overrides that parameters stand for; parameters of inactive keys are passed over."""
        overrides: Overrides = {}
        for variable in self.variables:
            if self.active(variable, overrides):
                overrides |= variable.decode(params)
        return overrides

    def params_of(self, point: Mapping[str, Any]) -> Params:
        """The parameters of a point given as overrides, of all keys or of some; a SweepError where it lies outside."""
        known = {key: variable for variable in self.variables for key in variable.keys}
        params: Params = {}
        for key in point:
            if key not in known:
                _fail_point(point, key, "the space has no such key", ", ".join(sorted(known)))
            variable = known[key]
            missing = [k for k in (*variable.keys, *self.when.get(variable.name, ())) if k not in point]
            if missing:
                _fail_point(point, key, f"it needs {missing[0]!r} beside it", "all keys that belong together")
            if not self.active(variable, point):
                conditions = canonical(self.when[variable.name])
                _fail_point(point, key, "its condition does not hold at this point", f"only when {conditions}")
            try:
                params |= variable.encode(point)
            except _OutsideError as error:
                _fail_point(point, key, error.args[0], error.args[1])
        return params

    def size(self) -> int | None:
        """How many configurations there are; None where a continuous key makes them endless."""
        if any(axis.size is None for axis in self.axes()):
            return None
        steering = {key for conditions in self.when.values() for key in conditions}

        def count(index: int, overrides: Overrides) -> int:
            if index == len(self.variables):
                return 1
            variable = self.variables[index]
            if not self.active(variable, overrides):
                return count(index + 1, overrides)
            if variable.name not in steering:
                return (variable.axes[0].size or 0) * count(index + 1, overrides)
            return sum(count(index + 1, overrides | variable.decode(params)) for params in _values(variable))

        return count(0, {})

    def points(self) -> Iterator[Params]:
        """The parameters of every configuration of a finite space."""

        def extend(index: int, params: Params, overrides: Overrides) -> Iterator[Params]:
            if index == len(self.variables):
                yield params
            elif not self.active(variable := self.variables[index], overrides):
                yield from extend(index + 1, params, overrides)
            else:
                for value in _values(variable):
                    yield from extend(index + 1, params | value, overrides | variable.decode(value))

        return extend(0, {}, {})


# --- reading the grammar ----------------------------------------------------------------------------------------------


def parse(raw: Any) -> Space:
    """The space of a sweep file's `search.space`; a SweepError names the key that is wrong."""
    if not isinstance(raw, dict) or not raw:
        raise SweepError(
            f"search.space: {raw!r}", "there is nothing to search", "dotted keys", "model.width: {choice: [32, 64]}"
        )
    variables = {str(key): _variable(key, entry) for key, entry in raw.items()}
    _check_apart(variables.values())
    when = {key: _conditions(key, raw[key], variables) for key in variables if "when" in raw[key]}
    graph = {key: sorted(when.get(key, ())) for key in sorted(variables)}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        cycle = error.args[1]
        _fail(cycle[0], raw[cycle[0]], f"conditions form a circle: {' -> '.join(cycle)}", "conditions without a circle")
    return Space(raw, tuple(variables[key] for key in order), when)


def _fail(key: Any, entry: Any, why: str, allowed: str, kind: str = "choice") -> NoReturn:
    raise SweepError(f"search.space: {key}: {entry!r}", why, allowed, f"{key}: {_KINDS[kind][1]}")


def _fail_point(point: Mapping[str, Any], key: str, why: str, allowed: str) -> NoReturn:
    raise SweepError(f"point {dict(point)!r}: {key}", why, allowed, "change the point, or widen search.space")


def _variable(key: Any, entry: Any) -> Variable:
    if not isinstance(key, str) or not all(key.split(".")):
        _fail(key, entry, "it is no dotted configuration key", "names with a dot between them")
    kinds = [kind for kind in _KINDS if isinstance(entry, dict) and kind in entry]
    if len(kinds) != 1:
        why = "it does not say what to draw" if not kinds else f"it asks for {' and '.join(kinds)} at once"
        _fail(key, entry, why, f"a mapping with one of {', '.join(_KINDS)}")
    kind = kinds[0]
    allowed = (kind, *_KINDS[kind][0], "when")
    if unknown := [word for word in entry if word not in allowed]:
        _fail(key, entry, f"unknown word {unknown[0]!r}", ", ".join(allowed), kind)
    try:
        if kind == "choice":
            return _choice(key, entry["choice"])
        if kind in ("float", "int"):
            return Variable(key, (_axis(key, kind, entry),))
        return _weights(key, kind, entry)
    except _OutsideError as error:
        _fail(key, entry, error.args[0], error.args[1], kind)


def _choice(key: str, values: Any) -> Variable:
    if not isinstance(values, list) or not values:
        raise _OutsideError("there is nothing to choose from", "a list with at least one value")
    try:
        labels = tuple(canonical(value) if isinstance(value, (list, dict)) else value for value in values)
    except (TypeError, ValueError) as error:
        raise _OutsideError(f"a choice is no JSON value ({error})", "numbers, texts, lists, mappings") from None
    for label in labels:
        if not isinstance(label, (str, int, float, type(None))) or label != label or label in (math.inf, -math.inf):
            raise _OutsideError(f"{label!r} is no JSON value", "numbers, texts, true, false, null, lists, mappings")
    if len(set(labels)) < len(labels):
        raise _OutsideError("two choices are equal (1, 1.0 and true are)", "choices that differ")
    return Variable(key, (Axis(key, labels=labels),), values=tuple(values))


def _axis(key: str, kind: str, entry: Mapping[str, Any]) -> Axis:
    integer, log, step = kind == "int", entry.get("log", False), entry.get("step")
    low, high = _ends(entry[kind])
    if not isinstance(log, bool):
        raise _OutsideError(f"log is {log!r}", "true or false")
    if log and low <= 0:
        raise _OutsideError(f"a log scale has no {low:g}", "a low end above 0")
    if log and step is not None:
        raise _OutsideError("a log scale has no steps", "log or step, not both")
    if step is not None and _real(step) <= 0:
        raise _OutsideError(f"the step is {step!r}", "a step above 0")
    if integer and not all(isinstance(number, int) for number in (*entry[kind], 1 if step is None else step)):
        raise _OutsideError("an int has a part that is no whole number", "whole numbers, or `float`")
    step = 1 if integer and step is None else step
    if step is not None and abs((high - low) / step - round((high - low) / step)) > _SLACK:
        reach = low + math.floor((high - low) / step) * step
        raise _OutsideError(f"steps of {step:g} from {low:g} do not meet {high:g}", f"a high end such as {reach:g}")
    return Axis(key, low, high, log, None if step is None else float(step), integer)


def _weights(key: str, kind: str, entry: Mapping[str, Any]) -> Variable:
    members = entry[kind]
    if not isinstance(members, list) or not all(isinstance(m, str) and all(m.split(".")) for m in members):
        raise _OutsideError("the weights have no names", "a list of the keys of the weights")
    count = len(set(members))
    if count < len(members) or count < 2 or (kind == "ratio" and count > 2):
        raise _OutsideError(
            f"it has {len(members)} names, {count} of them different", "two different names (simplex: or more)"
        )
    if kind == "ratio":
        low, high = _ends(entry.get("range", [0.01, 100.0]))
        total = _real(entry.get("total", 1.0))
        if low <= 0 or total <= 0:
            raise _OutsideError("a log scale and a sum of weights are positive", "a range and a total above 0")
        return Ratio(key, (Axis(f"{key}.ratio", low, high, log=True),), tuple(members), total=total)
    minimum = _real(entry.get("min", 1e-5))
    if not 0 < minimum < 1 / count:
        raise _OutsideError(
            f"{count} weights of at least {minimum:g} cannot sum to 1", f"a min between 0 and {1 / count:g}"
        )
    return Simplex(key, tuple(Axis(f"{key}.simplex.{m}") for m in members[:-1]), tuple(members), minimum=minimum)


def _conditions(key: str, entry: Mapping[str, Any], variables: Mapping[str, Variable]) -> dict[str, tuple[Any, ...]]:
    """A variable's `when`: by key, the values at which it is set."""
    conditions = entry["when"]
    if not isinstance(conditions, dict) or not conditions:
        _fail(key, entry, "`when` has no condition", "when: {other.key: value or list of values}")
    result = {}
    for other, wanted in conditions.items():
        steers = variables.get(other)
        if steers is None or not (steers.values or steers.axes[0].integer):
            names = [name for name, v in variables.items() if v.values or v.axes[0].integer]
            _fail(
                key, entry, f"`when` names {other!r}", f"a choice or an int of this space: {', '.join(names) or 'none'}"
            )
        whole = _text(wanted) in [_text(value) for value in steers.values]
        values = tuple(wanted) if isinstance(wanted, list) and not whole else (wanted,)
        try:
            for value in values:
                steers.encode({other: value})
        except _OutsideError as error:
            _fail(key, entry, f"{other} is never {value!r}: {error.args[0]}", error.args[1])
        if not values:
            _fail(key, entry, f"`when` has no value for {other!r}", "a value or a list of values")
        result[other] = values
    return result


def _check_apart(variables: Any) -> None:
    """Refuse keys that are set twice, or that lie inside one another."""
    seen: list[str] = []
    for variable in variables:
        for key in variable.keys:
            for other in seen:
                if key == other or key.startswith(other + ".") or other.startswith(key + "."):
                    _fail(
                        variable.name, key, f"{key!r} and {other!r} set the same place", "keys apart from one another"
                    )
        seen += variable.keys


def _ends(ends: Any) -> tuple[float, float]:
    if not isinstance(ends, list) or len(ends) != 2:
        raise _OutsideError("a range has two ends", "[low, high]")
    low, high = (_real(end) for end in ends)
    if low >= high:
        raise _OutsideError(f"{low:g} is not below {high:g}", "[low, high] with low below high")
    return low, high


def _real(number: Any) -> float:
    """A finite number; YAML reads 1e-5 as a text and on as true, which are none."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        hint = " (YAML reads 1e-5 as a text: write 1.0e-5)" if isinstance(number, str) else ""
        raise _OutsideError(f"{number!r} is no finite number{hint}", "a number")
    return float(number)


def _text(value: Any) -> str:
    """JSON, or what Python shows of a value that is none (YAML has dates, for instance)."""
    try:
        return canonical(value)
    except (TypeError, ValueError):
        return repr(value)


def _along(line: Any, x: float) -> float:
    """The height at x of a line through three points; linear beyond its ends."""
    (x0, y0), (x1, y1), (x2, y2) = line
    if x > x1 and x2 > x1:
        return float(y1 + (y2 - y1) * (x - x1) / (x2 - x1))
    return float(y0 + (y1 - y0) * (x - x0) / (x1 - x0)) if x1 > x0 else float(y0)


def _values(variable: Variable) -> list[Params]:
    """Every parameter of a finite variable."""
    axis = variable.axes[0]
    return [{axis.name: axis.at(index)} for index in range(axis.size or 0)]
