"""Verbs that show what a store holds: sweeps and their trials, and one trial in full."""

from __future__ import annotations

import argparse

from sweeps import api
from sweeps.cli import common


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(status, "status", "print the state of each trial of a sweep; without NAME, list the sweeps")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of a sweep")
    common.add_store(parser)
    common.add_json(parser)

    parser = verbs.add(
        show, "show", "print everything about one trial: configuration, records, attempts, log, provenance"
    )
    common.add_trial(parser, "id of a trial, or the start of it")
    common.add_store(parser)
    common.add_json(parser)


def status(options: argparse.Namespace) -> int:
    from sweeps.cli import console

    store = api.open(options.store)
    if options.json:
        from sweeps.cli.programs import json_document, trial_json

        found = api.list_sweeps(store) if options.name is None else api.status(store, options.name)
        json_document.write(
            trial_json.listed(found, store.uri) if isinstance(found, list) else trial_json.status(found)
        )
    elif options.name is None:
        console.sweeps(api.list_sweeps(store), store.uri)
    else:
        console.status(api.status(store, options.name))
    return common.DONE


def show(options: argparse.Namespace) -> int:
    from sweeps.cli import trial_tables

    store = api.open(options.store)
    trial_id = api.find_trial(store, options.trial)
    if options.json:
        from sweeps.cli.programs import json_document, trial_json

        json_document.write(trial_json.shown(store, trial_id))
    else:
        trial_tables.print_trial(store, trial_id)
    return common.DONE
