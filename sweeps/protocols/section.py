"""The protocol that a sweep file names: read for the configurations of its arms, and checked against its columns."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from sweeps.protocols import files
from sweeps.results import columns
from sweeps.spec import own_metrics
from sweeps.spec.loader import unknown_name_error
from sweeps.spec.schema import ProtocolSpec
from sweeps.spec.yaml_document import Place

if TYPE_CHECKING:
    from sweeps.spec.loader import Sweep

TASK = "inpaint"
"""The task whose trials are rated by protocols."""
COUNTS = ("images", "hole_fraction")
"""Columns of a protocol beside its metrics."""


def read(sweep: Sweep) -> dict[str, Any] | None:
    """The `protocol` section for the configurations of a sweep, not resolved yet; None if the sweep names none.

    SweepError for an unknown name, a file that cannot be read, and a task whose trials no protocol rates.
    """
    given = sweep.spec.protocol
    if given is None:
        return None
    spec = ProtocolSpec(name=given) if isinstance(given, str) else given
    if sweep.spec.task != TASK:
        raise sweep.error(
            ("protocol",),
            f"trials of task {sweep.spec.task} do not fill images, which a protocol rates",
            f"task {TASK}; detectors are rated after `sweeps predict TRIAL PHOTOGRAPHS --to-score DIR` by "
            "`sweeps score DIR/maps --protocol NAME --truth MASKS`",
            "leave `protocol` out",
        )
    section = spec.model_dump(exclude={"name", "hash"})
    stored = sweep.stored_protocol
    if stored is not None and Path(spec.name).stem == stored["name"] and spec.hash in (None, stored["hash"]):
        return {**copy.deepcopy(dict(stored)), **section}
    name, content = _content(sweep, spec.name)
    return {"name": name, **section, "hash": spec.hash, "content": content}


def _content(sweep: Sweep, name: str) -> tuple[str, dict[str, Any]]:
    """The name and keys of a protocol, whose file is relative to that of the sweep."""
    if name in files.names():
        return files.read(name)
    if not name.endswith((".yaml", ".yml")):
        origin = sweep.document.origin(("protocol",))
        raise unknown_name_error(f"{origin}: protocol {name!r}", name, [*files.names(), "./FILE.yaml"])
    file = (sweep.folder or Path.cwd()) / name
    if not file.is_file():
        near = sorted(f"./{path.name}" for path in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
        allowed = ", ".join([*near, *files.names()])
        raise sweep.error(("protocol",), f"there is no file {file}", allowed, "name a file relative to this one")
    stem, content = files.read(file)
    if isinstance(content, dict) and {"base", "name"} <= {*content}:
        allowed = ", ".join([*files.names(), "a file with about, images, masks and metrics"])
        raise sweep.error(("protocol",), f"{file.name} is a sweep file", allowed, "name the file of a protocol")
    return stem, content


def refuse_key(sweep: Sweep, changes: Mapping[str, tuple[Any, Place]]) -> None:
    """Raise SweepError for a protocol in the base or in the changes of an arm: all arms of a table have the same."""
    if sweep.spec.task != TASK:
        return
    places: list[Place] = [("base", "protocol")] if "protocol" in sweep.spec.base else []
    places += [place for key, (_, place) in changes.items() if key.partition(".")[0] == "protocol"]
    for place in places:
        why = "numbers of different protocols do not compare, so that all arms of a sweep are rated by one"
        raise sweep.error(place, why, "`protocol` at the top level of the file", "protocol: NAME beside `base:`")


@contextlib.contextmanager
def placing_errors(sweep: Sweep) -> Iterator[None]:
    """Add the place in the sweep file to an error about a folder of the protocol, which names its key alone."""
    try:
        yield
    except ValueError as error:
        given = str(getattr(error, "given", ""))
        key = next((key for key in ("images", "masks") if given.startswith(f"protocol.{key}")), None)
        if key is None or isinstance(error, SweepError):
            raise
        place = ("protocol", key) if ("protocol", key) in sweep.document.origins else ("protocol",)
        parts = (error.why, error.allowed, error.fix)  # type: ignore[attr-defined]
        raise SweepError(f"{sweep.document.origin(place)}: {given}", *parts) from None


def settle(sweep: Sweep, resolved: Mapping[str, Any] | None) -> None:
    """Check the columns of the protocol that a sweep names, and let the report show them if it names no columns.

    resolved: the `protocol` section of a resolved configuration; None without one.
    """
    if sweep.spec.task not in own_metrics.TASKS:
        return  # its columns are a program's, or of no images
    metrics = list(resolved["evaluation"]["metrics"]) if resolved else []
    for place, column in own_metrics.named_columns(sweep.spec):
        metric, label = columns.without_test_set(column)
        if label != columns.PROTOCOL:
            continue
        if resolved is None:
            allowed, fix = "columns of the sweep's own test images; or a protocol", "protocol: NAME"
            raise sweep.error(place, f"{column!r}: the sweep names no protocol", allowed, fix)
        known = [f"test/{name}" for name in (*metrics, *COUNTS)]
        if metric not in known:
            allowed = ", ".join(f"{name}_on_{columns.PROTOCOL}" for name in known)
            why = f"{column!r}: the protocol {resolved['name']} does not have this metric"
            raise sweep.error(place, why, allowed, f"test/{metrics[0]}_on_{columns.PROTOCOL}")
        _check_epoch(sweep, place, column)
    _check_pairs(sweep)
    report = sweep.spec.report
    if resolved and "metrics" not in report.model_fields_set:
        shown = [f"test/{metric}_on_{columns.PROTOCOL}" for metric in metrics]
        sweep.spec = sweep.spec.model_copy(update={"report": report.model_copy(update={"metrics": shown})})


def _check_pairs(sweep: Sweep) -> None:
    """Raise SweepError for a claim that compares a column of the protocol with one of other images."""
    for number, claim in enumerate(sweep.spec.claims):
        for key, other in (("above", claim.above), ("like", claim.like)):
            if isinstance(other, str) and columns.on_protocol(other) != columns.on_protocol(claim.metric or ""):
                why = f"{claim.metric!r} and {other!r} are of different images and holes, which do not compare"
                allowed = "two columns of the protocol, or two of the sweep's own test images"
                raise sweep.error(("claims", number, key), why, allowed, f"change `metric` or `{key}`")


def _check_epoch(sweep: Sweep, place: Place, column: str) -> None:
    """Raise SweepError if a column of a protocol is asked for before the last epoch."""
    why = f"{column!r}: a protocol rates the fills after the last epoch alone"
    if sweep.spec.report.at != "last":
        raise sweep.error(("report", "at"), why, "last; or columns of the sweep's own test images", "at: last")
    claim = sweep.spec.claims[place[1]] if place[0] == "claims" and isinstance(place[1], int) else None
    for key in ("epoch", "after"):
        if claim is not None and getattr(claim, key) is not None:
            raise sweep.error((*place[:2], key), why, f"a claim without `{key}`", f"remove `{key}`, or change `metric`")
