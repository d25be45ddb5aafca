"""The verb that shows a store in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeps import api, data_roots
from sweeps.cli import common


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(dashboard, "dashboard", "watch, inspect and resume the sweeps of a store in a browser")
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument(
        "--address",
        help="where to run sweeps started from the dashboard: local (default), auto or HOST:PORT (use a running Ray "
        "and link to its dashboard)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on; 0 picks a free one (default: 8501)")
    parser.add_argument(
        "--token",
        help="access token that visitors must enter; this or --login is required if --host is not this machine",
    )
    parser.add_argument(
        "--login",
        metavar="FILE",
        type=Path,
        help="TOML file with the settings of an OpenID Connect login, which replaces the token",
    )
    parser.add_argument(
        "--base-path",
        metavar="PATH",
        help="path, or https://HOST/PATH, under which a proxy serves the dashboard; requires --token or --login",
    )
    parser.add_argument("--optuna", action="store_true", help="also start optuna-dashboard, which shows the searches")


def dashboard(options: argparse.Namespace) -> int:
    from analysis.dashboard import server
    from analysis.dashboard.auth import login
    from analysis.dashboard.processes import optuna_server

    store = api.open(options.store)
    openid = login.read(options.login) if options.login else None
    data = data_roots.text(options.data) if options.data else None
    settings = server.settings_for(options.host, options.token, store.uri, data, options.address, openid)
    if options.base_path:
        settings = server.with_base_path(settings, options.base_path)
    if options.optuna:
        settings = optuna_server.serve_in_thread(settings, store, options.host)
    server.serve(options.host, options.port, settings, openid)
    return common.DONE
