"""What several verbs need: the plan of a file, the store, a stored plan, the exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.store import Store

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all trials done; some failed or missing; the user's mistake; Ctrl-C."""


def load(options: argparse.Namespace) -> Plan:
    from sweeps import plan, spec
    from trainables import schema

    expanded = plan.expand(spec.load(options.file, options.tiny, tuple(options.set)), schema)
    for note in expanded.notes:
        print(f"note: {note}", file=sys.stderr)
    return expanded


def store(options: argparse.Namespace) -> Store:
    from sweeps.store import open_store

    return open_store(options.store)


def newest_plan(store: Store, name: str) -> dict[str, Any]:
    from sweeps import ledger

    names = ledger.sweep_names(store)
    newest = ledger.newest_plan(store, name) if name in names else None
    if newest is None:
        known = ", ".join(names) or "none: there is no sweep in it yet"
        raise SweepError(f"sweep {name!r}", f"the store {store.uri} has no plan of this name", known, "sweeps status")
    return newest


def stored_plan(store: Store, name: str, more: Sequence[str] = ()) -> tuple[dict[str, Any], Plan]:
    """A sweep's newest plan as it is stored, and made again from the file that it holds with the changes made then.

    more: further changes, KEY=VALUE.
    """
    from sweeps import document, plan, spec
    from trainables import schema

    stored = newest_plan(store, name)
    if not {"tiny", "changes"} <= stored.keys():
        raise SweepError(
            f"sweep {name!r}",
            "an older version planned it, without noting --tiny and --set",
            "a plan of this version",
            f"the command that planned it: {stored['command']}",
        )
    source = document.parse(stored["text"], stored["file"])
    return stored, plan.expand(spec.adapt(source, stored["tiny"], (*stored["changes"], *more)), schema)
