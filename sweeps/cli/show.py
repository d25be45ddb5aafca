"""Verbs that look at what a store holds."""

from __future__ import annotations

import argparse

from sweeps.cli import common


def status(options: argparse.Namespace) -> int:
    from sweeps.cli import console
    from sweeps.results import progress
    from sweeps.search import status
    from sweeps.store import plans as stored_plans

    store = common.store(options)
    if options.name is None:
        names = stored_plans.sweep_names(store)
        console.sweeps(store, names)
        return common.DONE
    stored = common.newest_plan(store, options.name)
    console.status(stored, progress.trial_states(store, stored), status.search_states(store, stored))
    return common.DONE


def show(options: argparse.Namespace) -> int:
    from sweeps.cli import console

    console.trial(common.store(options), options.trial)
    return common.DONE
