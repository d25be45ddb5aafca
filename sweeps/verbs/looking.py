"""Verbs that look at what a store holds."""

from __future__ import annotations

import argparse

from sweeps.verbs import common


def status(options: argparse.Namespace) -> int:
    from sweeps import ledger, progress, terminal, tries

    store = common.store(options)
    if options.name is None:
        names = ledger.sweep_names(store)
        terminal.sweeps(store, names)
        return common.DONE
    stored = common.newest_plan(store, options.name)
    terminal.status(stored, progress.trial_states(store, stored), tries.search_states(store, stored))
    return common.DONE


def show(options: argparse.Namespace) -> int:
    from sweeps import terminal

    terminal.trial(common.store(options), options.trial)
    return common.DONE
