"""Trials of other sweeps as configuration values: the best trial of a sweep, or the trials of an arm by seed.

Wherever a configuration has a value, it may have one of two mappings:

    {best: {sweep: NAME, metric: val/psnr_db}}     becomes {trial: ID}; optional `goal` (max, min) and `arm`
    {trials_of: {sweep: NAME, arm: NAME}}          becomes {seed: ID}

NAME is a YAML file in the folder of the sweep file, the name of a shipped study, or a sweep in the store. References
are resolved once and stored in the plan under `pins`, so planning the same sweep again uses the same trials even if the
other sweep has newer results; `--replace` resolves them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import sizes
from sweeps.spec import loader, resolve_reference, studies, yaml_document
from sweeps.spec.loader import Sweep
from sweeps.spec.plan import deep_copy
from sweeps.spec.references import Best, Reference, references, replace
from sweeps.spec.trial import digest
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

PENDING = "pending-"
"""Prefix of a placeholder for a trial id that is not known because the other sweep has not run yet."""


@dataclass(frozen=True)
class Dependency:
    """A sweep whose trials another sweep uses."""

    sweep: Sweep
    folder: Path | None
    """Folder of its file; None if only the store has the sweep."""

    @property
    def name(self) -> str:
        return self.sweep.spec.name


def missing_dependencies(
    sweep: Sweep, folder: Path | None, store: Store | None, renew: bool = False
) -> list[Dependency]:
    """The sweeps to which a sweep has unresolved references, in the order in which they must run.

    Sweeps that `sweep.changes_for` names are among them even if every reference is resolved.

    Raises a SweepError if sweeps depend on each other in a circle, or if `changes_for` names another sweep.

    folder: folder of the sweep's file
    renew: whether to ignore the pins of the sweep itself
    """
    dependencies: dict[str, Dependency] = {}
    known: dict[str, bool] = {}

    def visit(one: Sweep, folder: Path | None, renew: bool, path: tuple[str, ...]) -> None:
        pins = {} if renew else _pins(one, store)
        for reference in references(one):
            covered = _covers(pins.get(reference.key), reference, one)
            if covered and not sweep.changes_for:
                continue
            other = _find(one, reference, folder, store)
            if other is None:
                continue
            named = named_in(sweep, other.sweep)
            known[named or sizes.full_name(other.name, other.sweep.size)] = bool(named)
            if covered and not named:
                continue
            if other.name in path:
                circle = " -> ".join([*path[path.index(other.name) :], other.name])
                why = f"sweeps depend on each other in a circle: {circle}"
                raise one.error(
                    reference.place, why, "a sweep that does not depend on this one", "write the id of a trial instead"
                )
            if other.name not in dependencies:
                visit(other.sweep, other.folder, False, (*path, other.name))
                dependencies[other.name] = other

    visit(sweep, folder, renew, (sweep.spec.name,))
    for name in sweep.changes_for:
        if not known.get(name):
            raise loader.unknown_name_error(f"--set-for {name}: a sweep that {sweep.spec.name} uses", name, known)
    return list(dependencies.values())


def pin(sweep: Sweep, folder: Path | None, store: Store | None, *, renew: bool = False, pending: bool = False) -> Sweep:
    """Replace a sweep's references by trial ids. Returns the sweep itself if it has no references.

    store: where to look for the other sweeps and for pins; None to use no store
    renew: whether to ignore the pins of the newest stored plan
    pending: whether to insert placeholders (`PENDING`) for trials of unfinished sweeps instead of raising a SweepError
    """
    unresolved = references(sweep)
    if not unresolved:
        return sweep
    before = {} if renew else _pins(sweep, store)
    source = dataclasses.replace(sweep.document, value=deep_copy(sweep.document.value))
    pins: dict[str, Any] = {}
    for reference in unresolved:
        earlier = before.get(reference.key)
        if reference.key not in pins:
            pins[reference.key] = (
                earlier
                if earlier is not None and _covers(earlier, reference, sweep)
                else _taken(sweep, reference, folder, store, pending)
            )
            if isinstance(earlier, dict):  # adding seeds to this sweep does not change the trials of its earlier seeds
                pins[reference.key] = {**pins[reference.key], **earlier}
        replace(source.value, reference, pins[reference.key])
    pinned = Sweep(source, sweep.size, sweep.changes)
    pinned.epochs_scaled, pinned.pins = sweep.epochs_scaled, pins
    pinned.folder, pinned.user_code, pinned.changes_for = sweep.folder, sweep.user_code, sweep.changes_for
    pinned.stored_protocol = sweep.stored_protocol
    return pinned


def is_pending(sweep: Sweep) -> bool:
    """Whether a sweep is pinned to placeholders of trials."""
    return any(trial_id.startswith(PENDING) for value in sweep.pins.values() for trial_id in _ids(value))


def pinned_by(store: Store, trial_id: str) -> list[tuple[str, str]]:
    """(sweep, reference) for every sweep in the store whose newest plan has pinned this trial."""
    plans = {name: stored_plans.newest_plan(store, name) or {} for name in stored_plans.sweep_names(store)}
    pins = [(name, key, value) for name, plan in plans.items() for key, value in plan.get("pins", {}).items()]
    return [(name, key) for name, key, value in pins if trial_id in _ids(value)]


def _ids(pinned: Any) -> list[str]:
    return list(pinned.values()) if isinstance(pinned, dict) else [pinned]


def _pins(sweep: Sweep, store: Store | None) -> Mapping[str, Any]:
    stored = None if store is None else stored_plans.newest_plan(store, sweep.spec.name)
    pins: Mapping[str, Any] = (stored or {}).get("pins", {})
    return pins


def _covers(pinned: Any, reference: Reference, sweep: Sweep) -> bool:
    """Whether a pin is complete: `trials_of` needs a trial for each seed of the sweep."""
    if isinstance(reference.asks, Best):
        return pinned is not None
    return isinstance(pinned, dict) and all(str(seed) in pinned for seed in sweep.spec.seed_list)


# --- finding the other sweep ------------------------------------------------------------------------------------------


def _find(sweep: Sweep, reference: Reference, folder: Path | None, store: Store | None) -> Dependency | None:
    """The sweep that a reference names, at the same size. None if no file has it and `store` is None.

    The changes of `sweep.changes_for` are applied to the file; else, if the store has a plan of the sweep, its own.
    """
    name = reference.asks.sweep
    file = _file(name, folder)
    if file is not None:
        other = loader.load(file, sweep.size)
        stored = None if store is None else stored_plans.newest_plan(store, other.spec.name)
        changes = tuple((stored or {}).get("changes") or ())
        if named := named_in(sweep, other):
            changes = sweep.changes_for[named]
        if changes:
            other = loader.load(file, sweep.size, changes)
        other.changes_for = sweep.changes_for
        return Dependency(other, file.parent)
    if store is None:
        return None
    wanted = sizes.sized_name(name, sweep.size)
    stored = stored_plans.newest_plan(store, wanted) if "/" not in name and not name.startswith(".") else None
    if stored is None:
        names = {*_studies(), *stored_plans.sweep_names(store)}
        raise sweep.error(
            (*reference.place, "sweep"),
            f"there is no such sweep: no file {name!r} in {folder or 'its folder'}, no study {name!r}, "
            f"and no sweep {wanted!r} in the store {store.uri}",
            f"a YAML file in the folder of this one, or one of {', '.join(sorted(names))}",
            "run that sweep first, or give its file",
        )
    source = yaml_document.parse(stored["text"], stored["file"])
    named = next((one for one in (wanted, name) if one in sweep.changes_for), "")
    changes = sweep.changes_for[named] if named else tuple(stored["changes"])
    adapted = loader.adapt(source, sizes.size_of(stored), changes)
    adapted.user_code, adapted.changes_for = stored_plans.user_code(stored), sweep.changes_for
    adapted.stored_protocol = stored_plans.protocol(stored)
    return Dependency(adapted, None)


def named_in(sweep: Sweep, other: Sweep) -> str:
    """The name under which `sweep.changes_for` has changes of another sweep, with or without size; else ''."""
    names = (other.spec.name, sizes.full_name(other.spec.name, other.size))
    return next((name for name in names if name in sweep.changes_for), "")


def _file(name: str, folder: Path | None) -> Path | None:
    if name.endswith((".yaml", ".yml")):
        if folder is not None:
            return folder / name
        leaves = Path(name).is_absolute() or ".." in Path(name).parts  # a store gives the name: it stays in the folder
        return None if leaves or not Path(name).is_file() else Path.cwd() / name
    return _studies().get(name)


def _studies() -> dict[str, Path]:
    """Files of the shipped studies by the `name:` in them."""
    return {study.name: study.path for study in studies.studies()}


# --- resolving the reference ------------------------------------------------------------------------------------------


def _taken(sweep: Sweep, reference: Reference, folder: Path | None, store: Store | None, pending: bool) -> Any:
    """The current value of a reference: a trial id, or trial ids by seed."""
    other = _find(sweep, reference, folder, store)
    stored = None if store is None or other is None else stored_plans.newest_plan(store, other.name)
    if store is not None and stored is not None:
        why = resolve_reference.unfinished_reason(sweep, reference, stored, store)
        if why is None:
            return resolve_reference.resolve(sweep, reference, stored, store)
    else:
        why = "it has not run"
    if not pending:
        name = other.name if other else reference.asks.sweep
        raise sweep.error(
            reference.place,
            f"it refers to trials of sweep {name!r}, but {why}",
            "a finished sweep",
            f"sweeps run {sweep.document.name}, which runs that sweep first; or sweeps resume {name}",
        )
    if isinstance(reference.asks, Best):
        return PENDING + digest([reference.key], 8)
    return {str(seed): PENDING + digest([reference.key, seed], 8) for seed in sweep.spec.seed_list}
