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
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps import document, ledger, progress, spec
from sweeps.document import Place
from sweeps.plan import copied
from sweeps.record import describe
from sweeps.spec import Sweep, unknown
from sweeps.store import Store
from sweeps.trial import digest

STUDIES = Path(__file__).parent
"""Folder below which the studies lie that come with the package."""
PENDING = "pending-"
"""What the id of a trial begins with that is not known yet, as a sweep that comes first has not run."""
_SECTIONS = ("base", "arms", "leave_one_out", "pairs", "grid")


class _Best(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sweep: str
    metric: str
    goal: Literal["max", "min"] | None = None
    arm: str | None = None


class _TrialsOf(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sweep: str
    arm: str


_KINDS: dict[str, type[_Best] | type[_TrialsOf]] = {"best": _Best, "trials_of": _TrialsOf}


@dataclass(frozen=True)
class Reference:
    """One mapping of the two kinds, where it stands; `key` is what its pin is kept under."""

    place: Place
    asks: _Best | _TrialsOf
    key: str


@dataclass(frozen=True)
class Dependency:
    """A sweep that another one takes trials from. folder: that of its file; None where only the store has it."""

    sweep: Sweep
    folder: Path | None

    @property
    def name(self) -> str:
        return self.sweep.spec.name


def references(sweep: Sweep) -> list[Reference]:
    """All that a sweep takes from others. SweepError where a mapping says so and cannot be read."""
    return [_read(sweep, place, kind, given) for place, kind, given in _found(sweep)]


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
        _replace(source.value, reference, pins[reference.key])
    pinned = Sweep(source, sweep.tiny, sweep.changes)
    pinned.epochs_scaled, pinned.pins = sweep.epochs_scaled, pins
    return pinned


def is_pending(sweep: Sweep) -> bool:
    """Whether a sweep was pinned to trials that are not known yet."""
    return any(trial_id.startswith(PENDING) for value in sweep.pins.values() for trial_id in _ids(value))


def users(store: Store, trial_id: str) -> list[tuple[str, str]]:
    """(sweep, reference) of all sweeps of a store whose newest plan has pinned a trial."""
    plans = {name: ledger.newest_plan(store, name) or {} for name in ledger.sweep_names(store)}
    pins = [(name, key, value) for name, plan in plans.items() for key, value in plan.get("pins", {}).items()]
    return [(name, key) for name, key, value in pins if trial_id in _ids(value)]


def _ids(pinned: Any) -> list[str]:
    return list(pinned.values()) if isinstance(pinned, dict) else [pinned]


# --- reading ----------------------------------------------------------------------------------------------------------


def _found(sweep: Sweep) -> Iterator[tuple[Place, str, Any]]:
    def walk(value: Any, place: Place) -> Iterator[tuple[Place, str, Any]]:
        kind = next((k for k in _KINDS if isinstance(value, dict) and isinstance(value.get(k), dict)), None)
        if kind is not None:
            yield (*place, kind), kind, value[kind]
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, (*place, key))
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                yield from walk(inner, (*place, i))

    for section in _SECTIONS:
        yield from walk(sweep.document.value.get(section), (section,))


def _read(sweep: Sweep, place: Place, kind: str, given: dict[str, Any]) -> Reference:
    try:
        asks = _KINDS[kind].model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        allowed = ", ".join(f"`{name}`" for name in _KINDS[kind].model_fields)
        fix = "{best: {sweep: NAME, metric: val/psnr_db}}" if kind == "best" else "{trials_of: {sweep: NAME, arm: ARM}}"
        raise sweep.error(place, f"`{where}`: {wrong['msg'].lower()}", allowed, fix) from None
    if isinstance(asks, _Best):
        known = asks.metric.startswith("val/") and bool(describe(asks.metric)[2])
        if not known:
            chosen_on_test = asks.metric.startswith("test/")
            why = "a choice made on the test split would spoil it" if chosen_on_test else "no trial reports it"
            fix = f"metric: val/{asks.metric.removeprefix('test/')}" if chosen_on_test else "metric: val/psnr_db"
            raise sweep.error((*place, "metric"), f"{asks.metric!r}: {why}", "a column of validation, val/...", fix)
        if asks.goal is None and not describe(asks.metric)[1]:
            why = f"no direction of {asks.metric!r} is better by itself"
            raise sweep.error((*place, "metric"), why, "with `goal: max` or `goal: min`", "add `goal:`")
    return Reference(place, asks, json.dumps({kind: given}, sort_keys=True, separators=(",", ":")))


def _replace(value: Any, reference: Reference, pinned: Any) -> None:
    """Put what a reference stands for into a document's value: beside `best` other keys of the mapping stay."""
    *path, last, kind = reference.place
    for part in path:
        value = value[part]
    if kind == "trials_of":
        value[last] = dict(pinned)
    else:
        del value[last]["best"]
        value[last]["trial"] = pinned


def _pins(sweep: Sweep, store: Store | None) -> Mapping[str, Any]:
    stored = None if store is None else ledger.newest_plan(store, sweep.spec.name)
    pins: Mapping[str, Any] = (stored or {}).get("pins", {})
    return pins


def _covers(known: Any, reference: Reference, sweep: Sweep) -> bool:
    """Whether a pin says all that a reference needs: `trials_of` a trial for each seed of the sweep."""
    if isinstance(reference.asks, _Best):
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
        found = spec.load(file, sweep.tiny)
        stored = None if store is None else ledger.newest_plan(store, found.spec.name)
        if stored and stored.get("changes"):
            found = spec.load(file, sweep.tiny, tuple(stored["changes"]))
        return Dependency(found, file.parent)
    if store is None:
        return None
    wanted = f"{name}-tiny" if sweep.tiny else name
    stored = ledger.newest_plan(store, wanted) if "/" not in name and not name.startswith(".") else None
    if stored is None:
        raise sweep.error(
            (*reference.place, "sweep"),
            f"there is no such sweep: no file {name!r} in {folder or 'its folder'}, no study {name!r}, "
            f"and no {wanted!r} in the store {store.uri}",
            f"a YAML file beside this one, or one of {', '.join(sorted({*_studies(), *ledger.sweep_names(store)}))}",
            "run that sweep first, or name its file",
        )
    source = document.parse(stored["text"], stored["file"])
    return Dependency(spec.adapt(source, stored["tiny"], tuple(stored["changes"])), None)


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
    stored = None if store is None or other is None else ledger.newest_plan(store, other.name)
    if store is not None and stored is not None:
        why = _unfinished(sweep, reference, stored, store)
        if why is None:
            take = _best if isinstance(reference.asks, _Best) else _by_seed
            return take(sweep, reference, stored, store)
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
    if isinstance(reference.asks, _Best):
        return PENDING + digest([reference.key], 8)
    return {str(seed): PENDING + digest([reference.key, seed], 8) for seed in sweep.spec.seed_list}


def _arms(sweep: Sweep, reference: Reference, stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arms that a reference is about: the one that it names, else those that train."""
    arms: dict[str, dict[str, Any]] = {arm["name"]: arm for arm in stored["arms"]}
    if reference.asks.arm is None:
        return [arm for arm in arms.values() if arm["trains"]]
    if reference.asks.arm not in arms:
        given = f"{sweep.document.origin(reference.place)}: arm {reference.asks.arm!r} of sweep {stored['name']!r}"
        raise unknown(given, reference.asks.arm, arms)
    return [arms[reference.asks.arm]]


def _unfinished(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> str | None:
    """Why a sweep cannot say yet which trials are meant, None if it can. A trial that failed will not say more."""
    if searches := _searching(stored):
        return f"its search of {searches[0]!r} is not done"
    arms = _arms(sweep, reference, stored)
    targets = progress.by_trial((trial["id"], trial["epochs"]) for arm in arms for trial in arm["trials"].values())
    states = progress.states_of(store, targets)
    open_ = [id for id, epochs in targets.items() if states[id].at(epochs[-1]) not in ("done", "failed")]
    return f"{len(open_)} of its {len(targets)} trials have not ended" if open_ else None


def _searching(stored: Mapping[str, Any]) -> list[str]:
    """The searched arms of a stored plan whose best configurations have not become arms yet."""
    search, names = stored.get("search"), {arm["name"] for arm in stored["arms"] if arm["trials"]}
    if not search or not search["report_best"]:
        return []
    found_as = {arm: arm if search["within_arms"] else "tuned #1" for arm in search["arms"]}
    return [arm for arm, name in found_as.items() if name not in names]


def _best(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> str:
    """The finished trial with the best value of the metric at its last epoch; of equal ones the first in the plan."""
    asks = reference.asks
    assert isinstance(asks, _Best)
    trials = [trial for arm in _arms(sweep, reference, stored) for trial in arm["trials"].values()]
    keys = {ledger.result_key(trial["id"], trial["epochs"]): trial["id"] for trial in trials}
    bodies = store.get_many(keys)
    values: dict[str, float] = {}
    for key, trial_id in keys.items():
        column = ledger.load(key, bodies[key])["history"].get(asks.metric) if key in bodies else None
        if column and column[-1] is not None:
            values[trial_id] = column[-1]
    if not values:
        raise sweep.error(
            reference.place,
            f"no finished trial of sweep {stored['name']!r} has {asks.metric}",
            "a sweep with finished trials that report it, in arms that train",
            f"sweeps status {stored['name']}, and another `metric` or `arm`",
        )
    sign = 1 if (asks.goal or describe(asks.metric)[1]) == "max" else -1
    return max(values, key=lambda trial_id: sign * values[trial_id])


def _by_seed(sweep: Sweep, reference: Reference, stored: Mapping[str, Any], store: Store) -> dict[str, str]:
    """The arm's finished trials by seed; there must be one for each seed of the sweep that asks."""
    trials = _arms(sweep, reference, stored)[0]["trials"]
    keys = {ledger.result_key(trial["id"], trial["epochs"]): seed for seed, trial in trials.items()}
    finished = {keys[key] for key in store.exists_many(keys)}
    missing = [seed for seed in map(str, sweep.spec.seed_list) if seed not in finished]
    if missing:
        raise sweep.error(
            reference.place,
            f"arm {reference.asks.arm!r} of sweep {stored['name']!r} has no finished trial of seed {missing[0]}",
            f"seeds that it has: {', '.join(sorted(finished, key=int)) or 'none'}",
            f"run {stored['name']!r} with more seeds, or --set 'seeds=[{', '.join(sorted(finished, key=int))}]' here",
        )
    return {seed: trial["id"] for seed, trial in trials.items() if seed in finished}
