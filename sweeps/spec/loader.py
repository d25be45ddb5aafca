"""Loads a sweep file and checks its keys, types and references. `sweeps.spec.schema` defines the fields."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from sweeps import sizes
from sweeps.errors import SweepError, UnknownNameError
from sweeps.results.columns import declare
from sweeps.spec import own_metrics, yaml_document
from sweeps.spec.schema import COMMAND, TASKS, ArmSpec, ProtocolSpec, SweepSpec
from sweeps.spec.sections.claims import ClaimSpec
from sweeps.spec.sections.report import BEST, PublishedSpec, ReportSpec
from sweeps.spec.sections.resources import Resources
from sweeps.spec.sections.search import EarlyStoppingSpec, LimitSpec, SearchFileSpec
from sweeps.spec.sections.seeds import Budget, HalfWidth, SeedsUntil
from sweeps.spec.yaml_document import Document, Place

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DIVIDED = ("inpaint", "detect")
"""The tasks whose trials can have several workers."""


class Sweep:
    """A sweep file after `--size` and `--set`, with the place of every value."""

    def __init__(self, source: Document, size: str = sizes.FULL, changes: tuple[str, ...] = ()) -> None:
        self.document, self.size, self.changes = source, size, changes
        self.changes_for: Mapping[str, tuple[str, ...]] = {}
        """Changes as for `--set` of sweeps that this one depends on, by their names; see `sweeps.spec.dependencies`."""
        self.epochs_scaled: tuple[int, int] | None = None
        self.folder: Path | None = None
        """Folder of the file, for names of a user's code; None for a sweep that was not read from a file."""
        self.user_code: Mapping[str, str] = {}
        """What such names mean in a sweep that was read from a store."""
        self.stored_protocol: Mapping[str, Any] | None = None
        """The resolved protocol of a sweep that was read from a store, whose file may be gone."""
        self.protocol: dict[str, Any] | None = None
        """The `protocol` section for the configurations of all arms, read when the sweep is expanded."""
        self.pins: Mapping[str, Any] = {}
        """Resolved references to trials of other sweeps, see `sweeps.spec.dependencies`."""
        self.spec = _validate(source)
        self.metrics = own_metrics.read(self.spec, self.error)
        """Users' metrics of `report.extra`, as sections by label."""
        declare(self.metrics)
        self.columns: Mapping[str, str] | None = {} if self.spec.task in TASKS else None
        """The columns of a user's task, each with its better direction; None as long as they are not known."""
        if self.columns is not None:
            given = self.spec.base.get("metrics") if self.spec.task == COMMAND else None
            own_metrics.declare(given if isinstance(given, dict) else {}, ("base", "metrics"), self.error)
            own_metrics.check_columns(self.spec, self.error, self.metrics, {})
        _check_references(self)

    def error(self, place: Place, why: str, allowed: str, fix: str) -> SweepError:
        """An error about the value at a place."""
        return SweepError(f"{self.document.origin(place)}: {_dotted(place)}", why, allowed, fix)


def load(path: Path, size: str = sizes.FULL, changes: tuple[str, ...] = ()) -> Sweep:
    """Read and check a sweep file; see `adapt` for `size` and `changes`."""
    sweep = adapt(yaml_document.read(path), size, changes)
    sweep.folder = path.parent
    return sweep


def adapt(source: Document, size: str = sizes.FULL, changes: tuple[str, ...] = ()) -> Sweep:
    """Apply changes to a sweep file and check the result.

    If the changes lower the epochs, `test_epochs` and the epochs of claims are scaled down in proportion.

    size: one of `sizes.SIZES`; below full size, the block of this name is applied, and the name ends in the size
    changes: `key=value` as given to `--set`, with a key of the base (`data.train=4000`) or the sweep (`seeds=3`)
    """
    epochs_before = _epochs(source)
    if size != sizes.FULL:
        _apply_size(source, size)
    for change in changes:
        key, equals, value = change.partition("=")
        origin = f"--set {change}"
        if not equals or not key:
            raise SweepError(origin, "it is not KEY=VALUE", "a dotted key, an equals sign, a value", "--set epochs=3")
        _apply(source, key.strip(), yaml_document.parse_value(value), origin)
    scaled = _scale_epochs(source, epochs_before)
    sweep = Sweep(source, size, changes)
    sweep.epochs_scaled = scaled
    return sweep


def _apply(source: Document, key: str, value: Any, origin: str) -> None:
    """Set a dotted key: a key of the sweep if its first part is a field of the sweep, else a key of the base."""
    place = tuple(key.split("."))
    own = place[0] in SweepSpec.model_fields and place[0] not in ("name", "task")
    source.set(place if own else ("base", *place), value, origin)


def _apply_size(source: Document, size: str) -> None:
    block = source.value.get(size) if size in sizes.BLOCKS else None
    if not isinstance(block, dict) or not block:
        having = [one for one in sizes.SIZES if one == sizes.FULL or source.value.get(one)]
        why, fix = f"the file has no `{size}:` block", f"add `{size}: {{set: {{epochs: 2}}, seeds: 2}}`"
        reason = source.value.get("no_small")
        if size == sizes.SMALL and isinstance(reason, str) and reason.strip():
            why, fix = f"it has no small form, since {reason.strip()}", f"--size {having[-1]}"
        if size not in sizes.SIZES:
            why, fix = "there is no such size", f"--size {having[-1]}"
        raise SweepError(f"{source.name} --size {size}", why, f"a size that the file has: {', '.join(having)}", fix)
    for key, value in block.items():
        for inner, item in value.items() if key == "set" and isinstance(value, dict) else [(key, value)]:
            _apply(source, inner, item, f"{size} ({source.origin((size, key))})")
    source.set(("name",), sizes.sized_name(str(source.value.get("name")), size), f"--size {size}")


def _epochs(source: Document) -> int | None:
    base = source.value.get("base")
    epochs = base.get("epochs") if isinstance(base, dict) else None
    return epochs if type(epochs) is int and epochs > 0 else None


def _scale_epochs(source: Document, before: int | None) -> tuple[int, int] | None:
    """Scale down the epochs in `report` and `claims`. Returns (epochs before, epochs now), None if nothing changed."""
    after = _epochs(source)
    if before is None or after is None or after >= before:
        return None

    def scaled(epoch: Any) -> Any:
        return max(1, round(epoch * after / before)) if type(epoch) is int else epoch

    report, claims = source.value.get("report"), source.value.get("claims")
    tested = report.get("test_epochs") if isinstance(report, dict) else None
    if isinstance(report, dict) and isinstance(tested, list) and all(type(epoch) is int for epoch in tested):
        report["test_epochs"] = sorted({scaled(epoch) for epoch in tested})
        source.notes.append(f"test_epochs scaled from {before} to {after} epochs: {report['test_epochs']}")
    for claim in claims if isinstance(claims, list) else []:
        if isinstance(claim, dict):
            claim.update({key: scaled(claim[key]) for key in ("epoch", "after") if key in claim})
    return before, after


# --- checking ---------------------------------------------------------------------------------------------------------


def _validate(source: Document) -> SweepSpec:
    try:
        return SweepSpec.model_validate(source.value)
    except ValidationError as error:
        first = _first(error)
    place = _place(first["loc"], source.value, first["type"] == "missing")
    owner = _owner(place, source.value)
    key = next((part for part in reversed(place) if isinstance(part, str)), "")
    given = f"{source.origin(place)}: {_dotted(place)}"
    if first["type"] == "extra_forbidden":
        raise unknown_name_error(given, key, owner.model_fields)
    if first["type"] == "missing":
        raise SweepError(given, "it is required but missing", _allowed(owner, key), f"add `{key}:`")
    why = first["msg"].removeprefix("Value error, ")
    raise SweepError(
        f"{given} = {first['input']!r}", why[:1].lower() + why[1:], _allowed(owner, key), f"change `{key}`"
    )


def _first(error: ValidationError) -> ErrorDetails:
    """The first error; of the branches of a union, that of the branch which fits furthest.

    An unknown key comes before a missing one, which it may be meant to be.
    """
    errors = error.errors()
    same = [one for one in errors if one["loc"][:1] == errors[0]["loc"][:1]]
    return max(
        same, key=lambda one: (len(one["loc"]), not one["type"].endswith("_type"), one["type"] == "extra_forbidden")
    )


def _place(loc: tuple[str | int, ...], value: Any, missing: bool) -> Place:
    """Convert a location of pydantic to a place in the file by removing the parts that name a branch of a union."""
    place: Place = ()
    for part in loc:
        inside = (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int))
        if inside:
            value = value[part]
        if inside or (missing and part == loc[-1]):
            place = (*place, part)
    return place


def _owner(place: Place, value: Any) -> type[BaseModel]:
    """The model that defines the last key of a place in a file with this value."""
    inner: dict[str, type[BaseModel]] = {
        "arms": ArmSpec,
        "resources": Resources,
        "report": ReportSpec,
        "claims": ClaimSpec,
        "pairs": ArmSpec,
        "leave_one_out": ArmSpec,
        "search": SearchFileSpec,
        "seeds": SeedsUntil,
        "protocol": ProtocolSpec,
    }
    if len(place) > 2 and place[:2] == ("search", "early_stopping"):
        return EarlyStoppingSpec
    if len(place) > 2 and place[:2] == ("seeds", "until"):
        return Budget if "budget" in value["seeds"]["until"] else HalfWidth
    if len(place) > 2 and place[:2] == ("search", "constraints"):
        return LimitSpec
    if len(place) > 2 and place[0] == "report" and place[1] == "published":
        return PublishedSpec
    return inner.get(str(place[0]), SweepSpec) if len(place) > 1 else SweepSpec


def _allowed(owner: type[BaseModel], key: str) -> str:
    field = owner.model_fields.get(key)
    if field is None:
        return "the keys and values of docs/sweep-files.md"
    return field.description or ""


def unknown_name_error(given: str, name: str, allowed: Any) -> UnknownNameError:
    """The error for an unknown name; suggests the most similar allowed one."""
    names = [str(item) for item in allowed]
    near = difflib.get_close_matches(name, names, 1)
    return UnknownNameError(
        given, "there is no such name", ", ".join(names), f"did you mean `{near[0]}`?" if near else "use one of those"
    )


def _dotted(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return f"`{text.removeprefix('.')}`" if place else "the file"


def settle_columns(sweep: Sweep, declared: Mapping[str, str]) -> None:
    """Check the columns of a sweep of a user's task, whose file declares them, and let the report show them.

    declared: {column: better direction}, known when the configuration is resolved.
    """
    sweep.columns = declared
    report = sweep.spec.report
    if "metrics" not in report.model_fields_set:
        tests = [column for column in declared if column.startswith("test/")]
        report = report.model_copy(update={"metrics": tests or list(declared)})
        sweep.spec = sweep.spec.model_copy(update={"report": report})
    own_metrics.declare(declared, ("task",), sweep.error)
    own_metrics.check_columns(sweep.spec, sweep.error, sweep.metrics, declared)


def _check_references(sweep: Sweep) -> None:
    """Check the seeds and epochs that the file names. Arm names are checked by `sweeps.spec.plan`."""
    spec = sweep.spec
    if not spec.seed_list or len(set(spec.seed_list)) != len(spec.seed_list):
        raise sweep.error(("seeds",), "it is empty or repeats a seed", "a number, or different seeds", "seeds: 3")
    if spec.small and spec.no_small is not None:
        why = "it says why there is no small form, but the file has a block `small`"
        raise sweep.error(("no_small",), why, "one of `small` and `no_small`", "remove `no_small`")
    _check_workers(sweep)
    _check_looks(sweep)
    _check_search(sweep)
    best = BEST.match(spec.report.at)
    if spec.report.at != "last" and not (best and best["column"].startswith("val/")):
        raise sweep.error(("report", "at"), "it does not select an epoch", "last, or best(val/COLUMN)", "at: last")
    for i, claim in enumerate(spec.claims):
        if not claim.can_be_judged:
            raise sweep.error(
                ("claims", i),
                "its keys do not form a claim that can be judged",
                "metric with better/than(/by), not_worse/than/within, equal/within, order, improves/after, "
                "settles/after/within, arm/above(/over) or arm/like/share; or fails",
                "{text: ..., metric: test/psnr_db, better: A, than: B}",
            )
        testing = (claim.metric or "").startswith("test/")
        for key, epoch in (("epoch", claim.epoch), ("after", claim.after)):
            if testing and epoch is not None and epoch not in spec.report.test_epochs:
                place = ("claims", i, key)
                raise sweep.error(
                    place, f"there is no test at epoch {epoch}", f"{spec.report.test_epochs}", "add it to test_epochs"
                )


def _check_workers(sweep: Sweep) -> None:
    """Check that several processes can share a trial of the task."""
    resources, task = sweep.spec.resources, sweep.spec.task
    most = resources.least_and_most[1]
    if most > 1 and task not in DIVIDED:
        own = task == COMMAND or task not in TASKS  # torch or the program uses all GPUs of its process
        raise sweep.error(
            ("resources", "workers"),
            f"a trial of task {task} is one process",
            f"1{'; several GPUs by resources.gpus, which this process sees' if own else ''}; or a task whose batches "
            f"processes can share: {', '.join(DIVIDED)}",
            f"resources: {{workers: 1{f', gpus: {most}' if own else ''}}}",
        )


def _check_looks(sweep: Sweep) -> None:
    """Check that looks have something to decide, and that every arm can have more seeds."""
    spec = sweep.spec
    if not isinstance(spec.seeds, SeedsUntil):
        return
    number = f"a number of seeds, such as {spec.seeds.first}"
    fix = f"seeds: {spec.seeds.first}"
    if isinstance(spec.seeds.until, HalfWidth) and not (spec.arms or spec.grid or spec.pairs or spec.leave_one_out):
        why = "the file has no arm that could be compared with the baseline"
        raise sweep.error(("seeds", "until"), why, f"a file with `arms`; or {number}", f"add `arms:`, or {fix}")
    if spec.seeds.until == "decided" and not any(claim.fails is None for claim in spec.claims):
        why = "the file has no claim that could be decided"
        raise sweep.error(("seeds",), why, f"a file with `claims`; or {number}", f"add `claims:`, or {fix}")
    if spec.search is not None:
        why = "arms that a search chooses cannot get more seeds at looks"
        raise sweep.error(("seeds",), why, number, fix)
    if any(isinstance(arm.outputs, dict) for arm in spec.arms):
        why = "an arm has a folder of outputs for each seed, which no look can add to"
        raise sweep.error(("seeds",), why, f"one folder for all seeds; or {number}", fix)


def _check_search(sweep: Sweep) -> None:
    """Check the seeds and early stopping of a search."""
    search = sweep.spec.search
    if search is None:
        return
    shared = sorted(set(search.tune_seeds) & set(sweep.spec.seed_list))
    if shared:
        raise sweep.error(
            ("search", "tune_seeds"),
            f"seeds {shared} would both select configurations and report on them",
            "seeds that are not in `seeds`",
            f"tune_seeds: [{max(sweep.spec.seed_list) + 100}]",
        )
    stopping = search.early_stopping
    if stopping.name != "none" and len(search.metrics) > 1:
        raise sweep.error(
            ("search", "early_stopping"),
            "it does not work with several objectives",
            "one objective, or name: none",
            "remove early_stopping, or all metrics but one",
        )
    if search.report_best and len(search.metrics) > 1:
        raise sweep.error(
            ("search", "report_best"),
            "several objectives have no single best configuration",
            "0",
            "report_best: 0",
        )
    if search.within_arms and not search.report_best:
        why = "with `within_arms`, the report would have no tuned arms"
        raise sweep.error(("search", "report_best"), why, "1 or more", "report_best: 1")
