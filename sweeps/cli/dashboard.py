"""The verb that shows a store in a browser."""

from __future__ import annotations

import argparse

from sweeps.cli import common


def dashboard(options: argparse.Namespace) -> int:
    from analysis.dashboard import server
    from analysis.dashboard.auth import login
    from analysis.dashboard.processes import optuna_server

    store = common.store(options)
    found = login.read(options.login) if options.login else None
    given = server.settings_for(options.host, options.token, store.uri, options.data, options.address, found)
    if options.optuna:
        given = optuna_server.beside(given, store, options.host)
    server.serve(options.host, options.port, given, found)
    return common.DONE
