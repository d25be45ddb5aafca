"""The verb that shows a store in a browser."""

from __future__ import annotations

import argparse

from sweeps.verbs import common


def dashboard(options: argparse.Namespace) -> int:
    from analysis.dashboard import optuna_server, server

    store = common.store(options)
    given = server.settings_for(options.host, options.token, store.uri, options.data, options.address)
    if options.optuna:
        given = optuna_server.beside(given, store, options.host)
    server.serve(options.host, options.port, given)
    return common.DONE
