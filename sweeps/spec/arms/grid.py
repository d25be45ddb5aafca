"""The cells of a grid: the labels of their levels, and the cell with which each one is compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeps.results.tested_images import tested_images
from sweeps.spec.arms import arm_names
from sweeps.spec.loader import Sweep, unknown_name_error
from sweeps.spec.plan import Arm, flatten
from sweeps.spec.trial import canonical
from sweeps.spec.yaml_document import Place

Levels = Mapping[str, Any]
"""The levels of a factor: {label: value}."""


def axes(sweep: Sweep) -> dict[str, Levels]:
    """The levels of each factor. SweepError if there are none, for equal ones, and for labels that cannot be names."""
    found: dict[str, Levels] = {}
    for key, levels in sweep.spec.grid.items():
        labelled = levels if isinstance(levels, dict) else dict(zip(_labels(key, levels), levels, strict=True))
        if not labelled or len(labelled) != len(levels):
            why = "it has no level, or repeats one"
            raise sweep.error(("grid", key), why, "different values", f"{key}: [a, b]")
        for label in labelled:
            try:
                arm_names.usable(label)
            except ValueError as error:
                why = f"the label {label!r} cannot be part of a name: {error}"
                raise sweep.error(("grid", key), why, "labels in words", f"{key}: {{LABEL: VALUE, ...}}") from None
        found[key] = labelled
    return found


def cells(sweep: Sweep) -> list[dict[str, tuple[str, Any, Place]]]:
    """The cells of the grid: {key: (label, value, place)}; one empty cell without a grid."""
    levels = [
        [(key, (label, value, ("grid", key))) for label, value in axis.items()] for key, axis in axes(sweep).items()
    ]
    return [dict(cell) for cell in itertools.product(*levels)]


def _labels(key: str, levels: Sequence[Any]) -> list[str]:
    """'lr=0.001'; of mappings only what differs between the levels: 'mask=lines', 'mask count=[1, 2]'."""
    name = key.rpartition(".")[2]
    if levels and all(isinstance(level, dict) for level in levels):
        flat = [flatten(level) for level in levels]
        kinds = [one.get("name") for one in flat]
        if all(isinstance(kind, str) for kind in kinds) and len(set(kinds)) == len(levels):
            return [f"{name}={kind}" for kind in kinds]
        keys = [key for key in dict.fromkeys(itertools.chain(*flat)) if len({_json(one.get(key)) for one in flat}) > 1]
        parts = [[f"{key}={_text(one[key])}" for key in keys if key in one] for one in flat]
        if len(set(map(tuple, parts))) == len(levels):
            return [" ".join([name, *part]) for part in parts]
    return [f"{name}={_text(level)}" for level in levels]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# --- the baseline of a grid without arms ------------------------------------------------------------------------------


def is_pure(sweep: Sweep) -> bool:
    """Whether the arms are the cells of a grid alone. SweepError for a baseline of a grid that the file has not."""
    spec = sweep.spec
    pure = bool(spec.grid) and not (spec.arms or spec.pairs or spec.leave_one_out)
    if isinstance(spec.baseline, dict) and not pure:
        why = (
            "the file has arms; each of them is compared at its own level of the grid"
            if spec.grid
            else "the file has no grid"
        )
        allowed = "the name of an arm; or levels of a file with `grid:` and no arms"
        raise sweep.error(("baseline",), why, allowed, f"baseline: {spec.base_name}")
    return pure


def with_baselines(sweep: Sweep, arms: Sequence[Arm]) -> list[Arm]:
    """The cells of a grid without arms, each with the cell that it is compared with.

    By default it is the first cell that is tested on the same images under the same masks. A baseline with levels of
    some factors leaves the others as they are in the cell. SweepError for unknown levels.
    """
    spec = sweep.spec
    if isinstance(spec.baseline, dict):
        fixed = {key: _label(sweep, key, value) for key, value in spec.baseline.items()}
        names = {canonical(arm.factors): arm.name for arm in arms}
        return [replace(arm, baseline=names[canonical({**arm.factors, **fixed})]) for arm in arms]
    if spec.baseline not in (None, spec.base_name):
        return [replace(arm, baseline=str(spec.baseline)) for arm in arms]
    first: dict[str, str] = {}
    for arm in arms:
        first.setdefault(tested_images(arm.config, spec.report.metrics), arm.name)
    return [replace(arm, baseline=first[tested_images(arm.config, spec.report.metrics)]) for arm in arms]


def _label(sweep: Sweep, key: str, value: Any) -> str:
    """The label of the level that a baseline gives by its value or label."""
    factors = axes(sweep)
    if key not in factors:
        raise unknown_name_error(f"{sweep.document.origin(('baseline', key))}: baseline {key!r}", key, factors)
    for label, level in factors[key].items():
        if value == label or (value == level and isinstance(value, bool) == isinstance(level, bool)):
            return label
    levels = factors[key] if isinstance(sweep.spec.grid[key], dict) else map(_text, factors[key].values())
    first, *others = levels
    why = f"the grid has no level {_text(value)} of {key}"
    raise sweep.error(("baseline", key), why, ", ".join([first, *others]), f"baseline: {{{key}: {first}}}")
