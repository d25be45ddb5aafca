"""What a sweep takes from other sweeps: the best trial of one, or an arm's trials by seed.

Two kinds of mapping may stand wherever a configuration has a value:

    {best: {sweep: NAME, metric: val/psnr_db}}     becomes {trial: ID}; optional `goal` (max, min) and `arm`
    {trials_of: {sweep: NAME, arm: NAME}}          becomes {seed: ID}

NAME is a YAML file beside the sweep file, the name of a study that comes with the package, or a sweep of the store.
What a mapping stood for is pinned: the stored plan keeps it under `pins`, and the same sweep planned again takes it
from there, whatever the other sweep has found since; `--replace` looks anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.spec import loader, resolve_reference, yaml_document
from sweeps.spec.loader import Sweep
from sweeps.spec.plan import copied
from sweeps.spec.references import Best, Reference, references, replace
from sweeps.spec.trial import digest
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

STUDIES = Path(__file__).parent.parent
"""Folder below which the studies lie that come with the package."""
PENDING = "pending-"
"""What the id of a trial begins with that is not known yet, as a sweep that comes first has not run."""


@dataclass(frozen=True)
class Dependency:
    """A sweep that another one takes trials from. folder: that of its file; None where only the store has it."""

    sweep: Sweep
    folder: Path | None

    @property
    def name(self) -> str:
        return self.sweep.spec.name


def first(sweep: Sweep, folder: Path | None, store: Store | None, renew: bool = False) -> list[Dependency]:
    """The sweeps from which one has not taken its trials yet, each after those that it depends on itself.

    folder: that of the sweep's file. renew: whether to look anew at what is pinned. SweepError where sweeps depend on
    each other in a circle.
    """
    found: dict[str, Dependency] = {}

    def visit(one: Sweep, folder: Path | None, renew: bool, path: tuple[str, ...]) -> None:
        pins = {} if renew else _pins(one, store)
        for reference in references(one):
            if _covers(pins.get(reference.key), reference, one):
                continue
            other = _find(one, reference, folder, store)
            if other is None:
                continue
            if other.name in path:
                circle = " -> ".join([*path[path.index(other.name) :], other.name])
                why = f"sweeps depend on each other in a circle: {circle}"
                raise one.error(reference.place, why, "a sweep that does not need this one", "take another `sweep:`")
            if other.name not in found:
                visit(other.sweep, other.folder, False, (*path, other.name))
                found[other.name] = other

    visit(sweep, folder, renew, (sweep.spec.name,))
    return list(found.values())


def pin(sweep: Sweep, folder: Path | None, store: Store | None, *, renew: bool = False, pending: bool = False) -> Sweep:
    """The sweep with the trials that its references stand for; the sweep itself where it has none.

    Those that the newest stored plan has pinned stay, but with `renew`. pending: ids that begin with `PENDING` stand
    for the trials of a sweep that has not ended; else that is a SweepError. store: None where nobody looks into one.
    """
    asked = references(sweep)
    if not asked:
        return sweep
    before = {} if renew else _pins(sweep, store)
    source = dataclasses.replace(sweep.document, value=copied(sweep.document.value))
    pins: dict[str, Any] = {}
    for reference in asked:
        known = before.get(reference.key)
        if reference.key not in pins:
            pins[reference.key] = (
                known
                if known is not None and _covers(known, reference, sweep)
                else _taken(sweep, reference, folder, store, pending)
            )
            if isinstance(known, dict):  # more seeds of this sweep leave those of before what they were
                pins[reference.key] = {**pins[reference.key], **known}
        replace(source.value, reference, pins[reference.key])
    pinned = Sweep(source, sweep.tiny, sweep.changes)
    pinned.epochs_scaled, pinned.pins = sweep.epochs_scaled, pins
    return pinned


def is_pending(sweep: Sweep) -> bool:
    """Whether a sweep was pinned to trials that are not known yet."""
    return any(trial_id.startswith(PENDING) for value in sweep.pins.values() for trial_id in _ids(value))


def users(store: Store, trial_id: str) -> list[tuple[str, str]]:
    """(sweep, reference) of all sweeps of a store whose newest plan has pinned a trial."""
    plans = {name: stored_plans.newest_plan(store, name) or {} for name in stored_plans.sweep_names(store)}
    pins = [(name, key, value) for name, plan in plans.items() for key, value in plan.get("pins", {}).items()]
    return [(name, key) for name, key, value in pins if trial_id in _ids(value)]


def _ids(pinned: Any) -> list[str]:
    return list(pinned.values()) if isinstance(pinned, dict) else [pinned]


def _pins(sweep: Sweep, store: Store | None) -> Mapping[str, Any]:
    stored = None if store is None else stored_plans.newest_plan(store, sweep.spec.name)
    pins: Mapping[str, Any] = (stored or {}).get("pins", {})
    return pins


def _covers(known: Any, reference: Reference, sweep: Sweep) -> bool:
    """Whether a pin says all that a reference needs: `trials_of` a trial for each seed of the sweep."""
    if isinstance(reference.asks, Best):
        return known is not None
    return isinstance(known, dict) and all(str(seed) in known for seed in sweep.spec.seed_list)


# --- finding the other sweep ------------------------------------------------------------------------------------------


def _find(sweep: Sweep, reference: Reference, folder: Path | None, store: Store | None) -> Dependency | None:
    """The sweep that a reference names, in its tiny form for a tiny sweep.

    None where no file has it and no store was looked into. Changes by `--set` with which the store has it are kept.
    """
    name = reference.asks.sweep
    file = _file(name, folder)
    if file is not None:
        found = loader.load(file, sweep.tiny)
        stored = None if store is None else stored_plans.newest_plan(store, found.spec.name)
        if stored and stored.get("changes"):
            found = loader.load(file, sweep.tiny, tuple(stored["changes"]))
        return Dependency(found, file.parent)
    if store is None:
        return None
    wanted = f"{name}-tiny" if sweep.tiny else name
    stored = stored_plans.newest_plan(store, wanted) if "/" not in name and not name.startswith(".") else None
    if stored is None:
        known = {*_studies(), *stored_plans.sweep_names(store)}
        raise sweep.error(
            (*reference.place, "sweep"),
            f"there is no such sweep: no file {name!r} in {folder or 'its folder'}, no study {name!r}, "
            f"and no {wanted!r} in the store {store.uri}",
            f"a YAML file beside this one, or one of {', '.join(sorted(known))}",
            "run that sweep first, or name its file",
        )
    source = yaml_document.parse(stored["text"], stored["file"])
    return Dependency(loader.adapt(source, stored["tiny"], tuple(stored["changes"])), None)


def _file(name: str, folder: Path | None) -> Path | None:
    if name.endswith((".yaml", ".yml")):
        path = (folder or Path.cwd()) / name
        return path if folder is not None or path.is_file() else None
    return _studies().get(name)


def _studies() -> dict[str, Path]:
    """The studies that come with the package, by the `name:` in their files."""
    found = {}
    for path in sorted(STUDIES.glob("*/*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        name = next((line.removeprefix("name:").strip() for line in lines if line.startswith("name:")), path.stem)
        found[name.strip("\"'")] = path
    return found


# --- taking from it ---------------------------------------------------------------------------------------------------


def _taken(sweep: Sweep, reference: Reference, folder: Path | None, store: Store | None, pending: bool) -> Any:
    """What a reference stands for now: a trial's id, or ids by seed."""
    other = _find(sweep, reference, folder, store)
    stored = None if store is None or other is None else stored_plans.newest_plan(store, other.name)
    if store is not None and stored is not None:
        why = resolve_reference.unfinished(sweep, reference, stored, store)
        if why is None:
            return resolve_reference.take(sweep, reference, stored, store)
    else:
        why = "it has not run"
    if not pending:
        name = other.name if other else reference.asks.sweep
        raise sweep.error(
            reference.place,
            f"trials of sweep {name!r} are asked for, and {why}",
            "a sweep that has ended",
            f"sweeps run {sweep.document.name}, which runs it first; or sweeps resume {name}",
        )
    if isinstance(reference.asks, Best):
        return PENDING + digest([reference.key], 8)
    return {str(seed): PENDING + digest([reference.key, seed], 8) for seed in sweep.spec.seed_list}
