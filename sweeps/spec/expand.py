"""Expands a sweep to a plan: the arms of its rows and grid, each resolved by the schema, times its seeds."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError
from sweeps.protocols import section as protocols
from sweeps.results import columns
from sweeps.spec.arms import arm_names, grid
from sweeps.spec.loader import Sweep, settle_columns, unknown_name_error
from sweeps.spec.plan import DEFAULT, Arm, Plan, Schema, deep_copy, flatten
from sweeps.spec.schema import ArmSpec
from sweeps.spec.trial import Trial
from sweeps.spec.yaml_document import Place


@dataclass(frozen=True)
class _UnresolvedArm:
    """An arm before it is resolved: its changes, each with its place in the file."""

    name: str
    changes: Mapping[str, tuple[Any, Place]]
    published: str | None
    place: Place
    outputs: str | Mapping[str, str] | None = None
    """The folder of the results of another program, or one for each seed, by the seed as text."""

    def with_folder(self, folder: str) -> _UnresolvedArm:
        """The arm with one of its folders."""
        path = str(Path(folder).expanduser().resolve())
        model = ({"name": "outputs", "path": path}, (*self.place, "outputs"))
        return replace(self, changes={**self.changes, "model": model}, outputs=folder)


def expand(sweep: Sweep, schema: Schema) -> Plan:
    """Make the plan of a sweep. SweepError for an invalid configuration, clashing names, or an unknown arm."""
    sweep.protocol = protocols.read(sweep)
    rows = _rows(sweep)
    baseline = sweep.spec.baseline if isinstance(sweep.spec.baseline, str) else sweep.spec.base_name
    if grid.is_pure(sweep):
        cells = [replace(rows[0], name="")]  # a cell is named by its levels alone
        arms = grid.with_baselines(sweep, _arms(sweep, schema, cells, grid.cells(sweep), ""))
    else:
        arms = _arms(sweep, schema, rows, grid.cells(sweep), baseline)
    names = [arm.name for arm in arms]
    search = sweep.spec.search
    if search and not search.within_arms:
        names += [f"tuned #{rank}" for rank in range(1, search.report_best + 1)]
    for arm in arms:
        if arm.baseline not in names:
            raise unknown_name_error(f"{sweep.document.origin(('baseline',))}: baseline {baseline!r}", baseline, names)
    for i, claim in enumerate(sweep.spec.claims):
        for name in claim.arms:
            if name not in names:
                raise unknown_name_error(
                    f"{sweep.document.origin(('claims', i))}: arm {name!r} of a claim", name, names
                )
    return Plan(sweep, tuple(arms), (*sweep.document.notes, *_twins(arms)))


def _rows(sweep: Sweep) -> list[_UnresolvedArm]:
    """The base and the arms, checked for clashing names."""
    spec = sweep.spec
    rows = [_UnresolvedArm(spec.base_name, {}, spec.published, ("base",)), *_named(spec.arms, "arms")]
    rows += [
        _UnresolvedArm(f"without {row.name}", row.changes, row.published, row.place)
        for row in _named(spec.leave_one_out, "leave_one_out")
    ]
    for one, other in itertools.combinations(_named(spec.pairs, "pairs"), 2):
        both = sorted(set(one.changes) & set(other.changes))
        if both:
            why = f"{one.name!r} and {other.name!r} both set {both[0]}"
            raise sweep.error(other.place, why, "changes of different keys", "remove one from `pairs`")
        rows.append(_UnresolvedArm(f"{one.name} + {other.name}", {**one.changes, **other.changes}, None, other.place))
    seen: dict[str, str] = {}
    for row in rows:
        earlier = seen.get(arm_names.look(row.name))
        if earlier is not None:
            same = f"two arms are called {row.name!r}"
            looks = f"it looks like the name of another arm: {row.name!a} and {earlier!a}"
            why = same if earlier == row.name else looks
            raise sweep.error(
                (*row.place, "name"), why, "different names", f"rename one of them, e.g. name: {row.name} 2"
            )
        seen[arm_names.look(row.name)] = row.name
    return rows


def _named(specs: Sequence[ArmSpec], key: str) -> list[_UnresolvedArm]:
    arms = []
    for i, spec in enumerate(specs):
        changes = {name: (value, (key, i, "set", name)) for name, value in spec.set.items()}
        arm = _UnresolvedArm(spec.name, changes, spec.published, (key, i), spec.outputs)
        arms.append(arm.with_folder(spec.outputs) if isinstance(spec.outputs, str) else arm)
    return arms


def _arms(
    sweep: Sweep,
    schema: Schema,
    rows: Sequence[_UnresolvedArm],
    cells: Sequence[Mapping[str, tuple[str, Any, Place]]],
    baseline: str,
) -> list[Arm]:
    """Every row in every cell. Results of another program that are the same in every cell are one row."""
    arms: dict[int, list[Arm]] = {
        at: [_resolve_outputs(sweep, schema, row, cell, baseline) for cell in cells] for at, row in enumerate(rows)
    }
    for at, row in enumerate(rows):
        if row.outputs is not None and len({tuple(trial.id for trial in arm.trials.values()) for arm in arms[at]}) == 1:
            arms[at] = [replace(arms[at][0], name=row.name, factors={})]
    return [arms[at][cell] for cell in range(len(cells)) for at in arms if cell < len(arms[at])]


def _resolve_outputs(
    sweep: Sweep, schema: Schema, row: _UnresolvedArm, cell: Mapping[str, tuple[str, Any, Place]], baseline: str
) -> Arm:
    """`_resolve`, and for the results of another program for each seed, the trial of each folder."""
    folders = row.outputs
    if folders is None or isinstance(folders, str):
        return _resolve(sweep, schema, row, cell, baseline)
    missing = [seed for seed in sweep.spec.seed_list if str(seed) not in folders]
    if missing:
        raise sweep.error(
            (*row.place, "outputs"),
            f"the arm {row.name!r} has folders for the seeds {', '.join(folders)}, and none for the seed "
            f"{missing[0]} of the sweep",
            f"a folder for each of the seeds {', '.join(map(str, sweep.spec.seed_list))}; or one folder for all",
            f"outputs: {{..., {missing[0]}: FOLDER}}, or `seeds: [{', '.join(folders)}]`",
        )
    rows = {seed: row.with_folder(folders[str(seed)]) for seed in sweep.spec.seed_list}
    arms = {seed: _resolve(sweep, schema, one, cell, baseline) for seed, one in rows.items()}
    first = next(iter(arms.values()))
    paths = {str(seed): arm.changes["model"]["path"] for seed, arm in arms.items()}
    return replace(
        first,
        changes={**first.changes, "model": {"name": "outputs", "path": paths}},
        trials={seed: arm.trials[seed] for seed, arm in arms.items()},
        by_seed=True,
    )


def _resolve(
    sweep: Sweep, schema: Schema, row: _UnresolvedArm, cell: Mapping[str, tuple[str, Any, Place]], baseline: str
) -> Arm:
    suffix = ", ".join(label for label, _, _ in cell.values())
    with_cell: Callable[[str], str] = lambda name: ", ".join(filter(None, [name, suffix]))  # noqa: E731
    changes = {key: (value, place) for key, (_, value, place) in cell.items()} | dict(row.changes)
    protocols.refuse_key(sweep, changes)
    config: dict[str, Any] = deep_copy(sweep.spec.base)
    for key, (value, place) in changes.items():
        _set(sweep, config, key, deep_copy(value), place)
    if sweep.user_code:
        config["user_code"] = dict(sweep.user_code)
    given = dict(changes)
    if sweep.protocol:
        config["protocol"] = deep_copy(sweep.protocol)
        given["protocol"] = (None, ("protocol",))
    if sweep.metrics:
        config["metrics"] = deep_copy(sweep.metrics)
        given["metrics"] = (None, ("report", "extra"))
    resolved = _checked(sweep, row, given, lambda: schema.resolve(sweep.spec.task, config, sweep.folder))
    columns.declare(resolved.get("metrics"))
    code = _code_of_choices(sweep, schema, config) | resolved.get("user_code", {})
    if code:  # a suggestion of a search is resolved with the code that was planned
        config["user_code"] = code
    task = (resolved.get("user_code") or {}).get(sweep.spec.task, sweep.spec.task)
    protocols.settle(sweep, resolved["protocol"] if sweep.protocol else None)
    if sweep.columns is None:
        settle_columns(sweep, resolved["metrics"])
    trials = trials_of(task, resolved, sweep.spec.seed_list, schema)
    trains = schema.trains(resolved)
    return Arm(
        task=task,
        name=with_cell(row.name),
        changes={key: value for key, (value, _) in changes.items()},
        factors={key: label for key, (label, _, _) in cell.items()},
        published=row.published,
        baseline=with_cell(baseline),
        given=config,
        folder=sweep.folder,
        config=resolved,
        trains=trains,
        by_seed=not trains and len({trial.id for trial in trials.values()}) > 1,
        trace=lambda: _origins(sweep, resolved, config, given),
        trials={} if _is_tuned_first(sweep, resolved, schema) else trials,
    )


def _code_of_choices(sweep: Sweep, schema: Schema, config: dict[str, Any]) -> dict[str, str]:
    """What the names of code mean now that the search can choose for an arm, by how they are written."""
    known: dict[str, str] = {}
    space = sweep.spec.search.space if sweep.spec.search else {}
    for key, entry in space.items():
        choices = entry.get("choice") if isinstance(entry, dict) else None
        for value in choices if isinstance(choices, list) else []:
            if not isinstance(value, str | dict):
                continue
            chosen = deep_copy(config)
            *path, last = key.split(".")
            inner = chosen
            for part in path:
                inner = inner.setdefault(part, {})
            with contextlib.suppress(ValueError, AttributeError):  # reported with its suggestion
                inner[last] = deep_copy(value)
                known |= schema.resolve(sweep.spec.task, chosen, sweep.folder).get("user_code", {})
    return known


def trials_of(task: str, resolved: dict[str, Any], seeds: Iterable[int], schema: Schema) -> dict[int, Trial]:
    """The trials of a resolved configuration by seed."""
    return {seed: Trial(task, resolved, seed, schema.identity(task, resolved, seed)) for seed in seeds}


def _is_tuned_first(sweep: Sweep, resolved: dict[str, Any], schema: Schema) -> bool:
    """Whether an arm's values come from its own search. A fill without training has nothing to tune."""
    search = sweep.spec.search
    return search is not None and search.within_arms and schema.trains(resolved)


def _set(sweep: Sweep, config: dict[str, Any], key: str, value: Any, place: Place) -> None:
    """Set a dotted key in place; a mapping replaces the whole section."""
    inner = config
    *path, last = key.split(".")
    for part in path:
        if not isinstance(inner.get(part), dict):
            sections = ", ".join(inner)
            fix = f"check the key, or add `{part}:` to the base"
            raise sweep.error(place, f"the base has no section `{part}`", sections, fix)
        inner = inner[part]
    inner[last] = value


def _checked(
    sweep: Sweep, row: _UnresolvedArm, changes: Mapping[str, tuple[Any, Place]], resolve: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Call `resolve` and add the place of the invalid value to its error, with the arm that keeps it from the base."""
    try:
        return resolve()
    except ValueError as error:
        if not all(hasattr(error, part) for part in ("given", "why", "allowed", "fix")):
            raise
        key: str = getattr(error, "key", "")
        value_place = _place_of(sweep, key, changes) or row.place
        given: str = error.given  # type: ignore[attr-defined]
        if sweep.metrics and given.startswith("metrics."):
            given = given.replace("metrics.", "report.extra: ", 1)
        why: str = error.why  # type: ignore[attr-defined]
        fix: str = error.fix  # type: ignore[attr-defined]
        section, _, option = key.rpartition(".")
        if value_place[0] == "base" and f"{section}.name" in changes and option != "name":
            name, name_place = changes[f"{section}.name"]
            origin = sweep.document.origin(name_place)
            why = f"{why}; {origin} changes `{section}.name` to {name!r} and keeps `{option}` of the base"
            fix = f"there, set `{section}: {{name: {name}}}`, which replaces the whole section"
        raise SweepError(
            f"{sweep.document.origin(value_place)}: {given}",
            why,
            error.allowed,  # type: ignore[attr-defined]
            fix,
        ) from None


def _place_of(sweep: Sweep, key: str, changes: Mapping[str, tuple[Any, Place]]) -> Place | None:
    """The place that sets a configuration key: the innermost change that contains it, else the base."""
    parts = key.split(".") if key else []
    prefixes = [parts[:length] for length in range(len(parts), 0, -1)]
    for prefix in prefixes:
        if ".".join(prefix) in changes:
            return changes[".".join(prefix)][1]
    return next((place for prefix in prefixes if (place := ("base", *prefix)) in sweep.document.origins), None)


def _origins(
    sweep: Sweep, resolved: dict[str, Any], given: dict[str, Any], changes: Mapping[str, tuple[Any, Place]]
) -> dict[str, str]:
    """The origin of each value of a resolved configuration."""
    origins: dict[str, str] = {}
    for key in flatten(resolved):
        if key.startswith("protocol.") and "protocol" in given:  # its file gives the rest
            origins[key] = sweep.document.origin(("protocol",))
            continue
        # `base` has the parameters of a program as its own keys.
        written = key if "parameters" in given else key.removeprefix("parameters.")
        inner: Any = given
        for part in written.split("."):
            inner = inner.get(part, DEFAULT) if isinstance(inner, dict) else DEFAULT
        place = None if inner is DEFAULT else _place_of(sweep, written, changes)
        origins[key] = DEFAULT if place is None else sweep.document.origin(place)
    return origins


def _twins(arms: list[Arm]) -> list[str]:
    """Notes on arms that have the same configuration under different names and therefore share their trials."""
    first: dict[str, str] = {}
    notes = []
    for arm in arms:
        key = json.dumps(arm.config, sort_keys=True)
        if key in first:
            notes.append(
                f"arms {first[key]!r} and {arm.name!r} have the same configuration: trained once, shown in both rows"
            )
        first.setdefault(key, arm.name)
    return notes
