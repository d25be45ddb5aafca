"""Parses the search space of a sweep file.

    model.width:        {choice: [32, 64]}                     any JSON values
    optimiser.lr:       {float: [1.0e-4, 1.0e-2], log: true}   or `step:`; both ends are included
    batch:              {int: [16, 128], step: 16}             or `log: true`
    optimiser.momentum: {float: [0.0, 0.99], when: {optimiser.name: sgd}}
    loss:               {simplex: [l2, adversarial], min: 1.0e-5}
    loss:               {ratio: [alpha, beta], range: [0.01, 100], total: 1.0}

Keys are dotted configuration keys. `when` refers to a `choice` or an `int` of the space, with one value or a list of
values; if there are several conditions, all must hold.

**simplex**: weights of at least `min` (default 1.0e-5) that sum to one. k weights have k - 1 parameters with names such
as `loss.simplex.l2`; `Simplex` in `parameters.py` explains how they are drawn.

**ratio**: alpha : beta, log-uniform in `range` (default 0.01 to 100), with both weights scaled to the sum `total`
(default 1). Its parameter is `loss.ratio`.
"""

from __future__ import annotations

import graphlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sweeps.errors import SweepError
from sweeps.search.parameters import (
    SLACK,
    Axis,
    OutsideError,
    Overrides,
    Params,
    Ratio,
    Simplex,
    Variable,
    finite_number,
    json_text,
)
from sweeps.spec.trial import canonical

_KINDS = {  # kind: (its options, an example)
    "choice": ((), "{choice: [32, 64]}"),
    "float": (("log", "step"), "{float: [1.0e-4, 1.0e-2], log: true}"),
    "int": (("log", "step"), "{int: [16, 128], step: 16}"),
    "simplex": (("min",), "{simplex: [l2, adversarial], min: 1.0e-5}"),
    "ratio": (("range", "total"), "{ratio: [alpha, beta], range: [0.01, 100]}"),
}


@dataclass(frozen=True)
class Space:
    """A parsed search space."""

    raw: dict[str, Any]
    """The space as given in the sweep file."""
    variables: tuple[Variable, ...]
    """Sorted so that a variable follows those on which its conditions depend."""
    when: Mapping[str, Mapping[str, tuple[Any, ...]]]
    """Conditions: {name of a variable: {other key: values that it must have}}."""

    @property
    def conditional(self) -> bool:
        return bool(self.when)

    def axes(self, always: bool = False) -> list[Axis]:
        """All axes. always: only those that every configuration has."""
        return [axis for v in self.variables if not (always and v.name in self.when) for axis in v.axes]

    def active(self, variable: Variable, overrides: Mapping[str, Any]) -> bool:
        """Whether the conditions of a variable hold, given the overrides of the variables before it."""
        conditions = self.when.get(variable.name, {})
        return all(key in overrides and overrides[key] in values for key, values in conditions.items())

    def suggest(self, trial: Any) -> Overrides:
        """Let an Optuna trial draw the active variables. Returns overrides of the base configuration."""
        return self._overrides(lambda axis: axis.suggest(trial))

    def overrides_of(self, params: Mapping[str, Any]) -> Overrides:
        """Parameters to overrides; parameters of inactive variables are ignored."""
        return self._overrides(lambda axis: params[axis.name])

    def _overrides(self, value_of: Callable[[Axis], Any]) -> Overrides:
        overrides: Overrides = {}
        for variable in self.variables:
            if self.active(variable, overrides):
                overrides |= variable.decode({axis.name: value_of(axis) for axis in variable.axes})
        return overrides

    def own_values(self, overrides: Mapping[str, Any]) -> dict[Axis, Any]:
        """The configuration's own values by their ranges, for figures: all weights of a simplex, no parameters."""
        found: dict[Axis, Any] = {}
        for variable in self.variables:
            if all(key in overrides for key in variable.keys):
                values = variable.own_values(overrides)
                found |= {axis: values[axis.name] for axis in variable.own_axes}
        return found

    def params_of(self, point: Mapping[str, Any]) -> Params:
        """The parameters of a point, given as overrides of some or all keys. SweepError if it is outside the space."""
        by_key = {key: variable for variable in self.variables for key in variable.keys}
        params: Params = {}
        for key in point:
            if key not in by_key:
                _fail_point(point, key, "the space has no such key", ", ".join(sorted(by_key)))
            variable = by_key[key]
            missing = [k for k in (*variable.keys, *self.when.get(variable.name, ())) if k not in point]
            if missing:
                _fail_point(point, key, f"it also needs {missing[0]!r}", "all keys that belong together")
            if not self.active(variable, point):
                conditions = canonical(self.when[variable.name])
                _fail_point(point, key, "its condition does not hold at this point", f"only when {conditions}")
            try:
                params |= variable.encode(point)
            except OutsideError as error:
                _fail_point(point, key, error.args[0], error.args[1])
        return params

    def size(self) -> int | None:
        """The number of configurations; None if a continuous key makes it infinite."""
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
            return sum(count(index + 1, overrides | variable.decode(params)) for params in variable.settings())

        return count(0, {})

    def points(self) -> Iterator[Params]:
        """The parameters of every configuration of a finite space."""

        def extend(index: int, params: Params, overrides: Overrides) -> Iterator[Params]:
            if index == len(self.variables):
                yield params
            elif not self.active(variable := self.variables[index], overrides):
                yield from extend(index + 1, params, overrides)
            else:
                for value in variable.settings():
                    yield from extend(index + 1, params | value, overrides | variable.decode(value))

        return extend(0, {}, {})


# --- reading the grammar ----------------------------------------------------------------------------------------------


def parse(raw: Any) -> Space:
    """Parse `search.space` of a sweep file. SweepError, with the key, if it is invalid."""
    if not isinstance(raw, dict) or not raw:
        raise SweepError(
            f"search.space: {raw!r}", "it has no keys", "a mapping of dotted keys", "model.width: {choice: [32, 64]}"
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
        _fail(key, entry, "it is not a dotted configuration key", "names separated by dots")
    kinds = [kind for kind in _KINDS if isinstance(entry, dict) and kind in entry]
    if len(kinds) != 1:
        why = "it does not say what to draw" if not kinds else f"it has {' and '.join(kinds)} at once"
        _fail(key, entry, why, f"a mapping with one of {', '.join(_KINDS)}")
    kind = kinds[0]
    allowed = (kind, *_KINDS[kind][0], "when")
    if unknown := [word for word in entry if word not in allowed]:
        _fail(key, entry, f"the key {unknown[0]!r} is unknown", ", ".join(allowed), kind)
    try:
        if kind == "choice":
            return _choice(key, entry["choice"])
        if kind in ("float", "int"):
            return Variable(key, (_axis(key, kind, entry),))
        return _weights(key, kind, entry)
    except OutsideError as error:
        _fail(key, entry, error.args[0], error.args[1], kind)


def _choice(key: str, values: Any) -> Variable:
    if not isinstance(values, list) or not values:
        raise OutsideError("its choices are empty or not a list", "a list with at least one value")
    try:
        labels = tuple(canonical(value) if isinstance(value, (list, dict)) else value for value in values)
    except (TypeError, ValueError) as error:
        raise OutsideError(f"a choice is not a JSON value ({error})", "numbers, texts, lists, mappings") from None
    for label in labels:
        if not isinstance(label, (str, int, float, type(None))) or label != label or label in (math.inf, -math.inf):
            raise OutsideError(f"{label!r} is not a JSON value", "numbers, texts, true, false, null, lists, mappings")
    if len(set(labels)) < len(labels):
        raise OutsideError("two choices are equal (1, 1.0 and true count as equal)", "different choices")
    return Variable(key, (Axis(key, labels=labels),), values=tuple(values))


def _axis(key: str, kind: str, entry: Mapping[str, Any]) -> Axis:
    integer, log, step = kind == "int", entry.get("log", False), entry.get("step")
    low, high = _ends(entry[kind])
    if not isinstance(log, bool):
        raise OutsideError(f"log is {log!r}", "true or false")
    if log and low <= 0:
        raise OutsideError(f"a log scale does not contain {low:g}", "a low end above 0")
    if log and step is not None:
        raise OutsideError("it has both log and step", "log or step, not both")
    if step is not None and finite_number(step) <= 0:
        raise OutsideError(f"the step is {step!r}", "a step above 0")
    if integer and not all(isinstance(number, int) for number in (*entry[kind], 1 if step is None else step)):
        raise OutsideError("an int has an end or step that is not a whole number", "whole numbers, or `float`")
    step = 1 if integer and step is None else step
    if step is not None and abs((high - low) / step - round((high - low) / step)) > SLACK:
        reach = low + math.floor((high - low) / step) * step
        raise OutsideError(f"steps of {step:g} from {low:g} do not reach {high:g}", f"a high end such as {reach:g}")
    return Axis(key, low, high, log, None if step is None else float(step), integer)


def _weights(key: str, kind: str, entry: Mapping[str, Any]) -> Variable:
    members = entry[kind]
    if not isinstance(members, list) or not all(isinstance(m, str) and all(m.split(".")) for m in members):
        raise OutsideError("it does not name the weights", "a list of the keys of the weights")
    count = len(set(members))
    if count < len(members) or count < 2 or (kind == "ratio" and count > 2):
        raise OutsideError(
            f"it has {len(members)} names, {count} of them different",
            "two different names" if kind == "ratio" else "two or more different names",
        )
    if kind == "ratio":
        low, high = _ends(entry.get("range", [0.01, 100.0]))
        total = finite_number(entry.get("total", 1.0))
        if low <= 0 or total <= 0:
            raise OutsideError("`range` or `total` is not positive", "a range and a total above 0")
        return Ratio(key, (Axis(f"{key}.ratio", low, high, log=True),), tuple(members), total=total)
    minimum = finite_number(entry.get("min", 1e-5))
    if not 0 < minimum < 1 / count:
        raise OutsideError(
            f"{count} weights of at least {minimum:g} cannot sum to 1", f"a min between 0 and {1 / count:g}"
        )
    return Simplex(key, tuple(Axis(f"{key}.simplex.{m}") for m in members[:-1]), tuple(members), minimum=minimum)


def _conditions(key: str, entry: Mapping[str, Any], variables: Mapping[str, Variable]) -> dict[str, tuple[Any, ...]]:
    """The `when` of a variable: {other key: values at which the variable is active}."""
    conditions = entry["when"]
    if not isinstance(conditions, dict) or not conditions:
        _fail(key, entry, "`when` has no condition", "when: {other.key: value or list of values}")
    result = {}
    for other, wanted in conditions.items():
        target = variables.get(other)
        if target is None or not target.steers:
            names = [name for name, variable in variables.items() if variable.steers]
            _fail(
                key,
                entry,
                f"`when` refers to {other!r}, which is not a choice or an int of this space",
                ", ".join(names) or "none: this space has no choice and no int",
            )
        whole = json_text(wanted) in [json_text(value) for value in target.values]
        values = tuple(wanted) if isinstance(wanted, list) and not whole else (wanted,)
        try:
            for value in values:
                target.encode({other: value})
        except OutsideError as error:
            _fail(key, entry, f"{other} is never {value!r}: {error.args[0]}", error.args[1])
        if not values:
            _fail(key, entry, f"`when` has no value for {other!r}", "a value or a list of values")
        result[other] = values
    return result


def _check_apart(variables: Iterable[Variable]) -> None:
    """Refuse keys that are repeated, or that contain one another."""
    seen: list[str] = []
    for variable in variables:
        for key in variable.keys:
            for other in seen:
                if key == other or key.startswith(other + ".") or other.startswith(key + "."):
                    _fail(variable.name, key, f"{key!r} and {other!r} set the same value", "keys that do not overlap")
        seen += variable.keys


def _ends(ends: Any) -> tuple[float, float]:
    if not isinstance(ends, list) or len(ends) != 2:
        raise OutsideError("a range needs two ends", "[low, high]")
    low, high = (finite_number(end) for end in ends)
    if low >= high:
        raise OutsideError(f"{low:g} is not below {high:g}", "[low, high] with low below high")
    return low, high
