"""What several verbs need: the plan of a file, the store, a stored plan, the exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from pathlib import Path

    from sweeps.spec.loader import Sweep
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all trials done; some failed or missing; the user's mistake; Ctrl-C."""


def read(options: argparse.Namespace) -> Sweep:
    """The sweep in FILE, before what it takes from other sweeps is looked up."""
    from sweeps.spec import loader

    return loader.load(options.file, options.tiny, tuple(options.set))


def expand(sweep: Sweep, folder: Path | None, store: Store | None, *, renew: bool = False, pending: bool) -> Plan:
    """The plan of a sweep whose file lies in `folder`, pinned: see `sweeps.spec.dependencies.pin` for the rest."""
    from sweeps.spec import dependencies, plan
    from trainables import schema

    return plan.expand(dependencies.pin(sweep, folder, store, renew=renew, pending=pending), schema)


def tell_notes(plan: Plan) -> None:
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)


def load(options: argparse.Namespace) -> Plan:
    """The plan of FILE, without a look into a store: ids of trials that other sweeps have to find are pending."""
    expanded = expand(read(options), options.file.parent, None, pending=True)
    tell_notes(expanded)
    return expanded


def make_folder(folder: Path) -> None:
    """Make the folder that results are written to. SweepError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"--out {folder}", str(error), "a folder that this user may write to", "--out ./out") from None


def store(options: argparse.Namespace) -> Store:
    from sweeps.store.open import open_store

    return open_store(options.store)


def newest_plan(store: Store, name: str) -> dict[str, Any]:
    from sweeps.store import plans as stored_plans

    names = stored_plans.sweep_names(store)
    newest = stored_plans.newest_plan(store, name) if name in names else None
    if newest is None:
        known = ", ".join(names) or "none: there is no sweep in it yet"
        raise SweepError(f"sweep {name!r}", f"the store {store.uri} has no plan of this name", known, "sweeps status")
    return newest


def stored_plan(store: Store, name: str, more: Sequence[str] = ()) -> tuple[dict[str, Any], Plan]:
    """A sweep's newest plan as it is stored, and made again from the file that it holds with the changes made then.

    more: further changes, KEY=VALUE.
    """
    from sweeps.spec import loader, yaml_document

    stored = newest_plan(store, name)
    if not {"tiny", "changes"} <= stored.keys():
        raise SweepError(
            f"sweep {name!r}",
            "an older version planned it, without noting --tiny and --set",
            "a plan of this version",
            f"the command that planned it: {stored['command']}",
        )
    source = yaml_document.parse(stored["text"], stored["file"])
    sweep = loader.adapt(source, stored["tiny"], (*stored["changes"], *more))
    return stored, expand(sweep, None, store, pending=False)
