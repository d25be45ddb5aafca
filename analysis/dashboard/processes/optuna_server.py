"""Starts optuna-dashboard, if it is installed, on the searches of a store."""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import replace
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from analysis.dashboard import server
from analysis.dashboard.settings import DashboardSettings
from sweeps.errors import SweepError
from sweeps.search.search import stored_searches
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_PACKAGE = "optuna_dashboard"
_HOST = "127.0.0.1"


def serve_in_thread(given: DashboardSettings, store: Store, host: str) -> DashboardSettings:
    """Serve a copy of the current searches from a thread. Returns the settings with the server's address.

    Raises SweepError if the package is missing, or if others could reach the host, because optuna-dashboard has no
    access control.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise SweepError(
            "--optuna",
            "the package optuna-dashboard is not installed",
            "an installed package",
            "pip install optuna-dashboard; the page of a sweep shows Optuna's figures without it",
        )
    if not server.is_loopback(host):
        raise SweepError("--optuna", "optuna-dashboard has no login", "--optuna on 127.0.0.1", "leave out --host")
    module: Any = importlib.import_module(_PACKAGE)
    served = make_server(_HOST, 0, _own_address_only(module.wsgi(copy_studies(store))), _Server, _Quiet)
    threading.Thread(target=served.serve_forever, name="optuna-dashboard", daemon=True).start()
    return replace(given, optuna=f"http://{_HOST}:{served.server_port}")


def copy_studies(store: Store) -> Any:
    """An Optuna storage in memory with a copy of every search; changes to it do not reach the store."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would log every study that is created
    try:
        for name in stored_plans.sweep_names(store):
            for search in stored_searches(store, name).values():
                study = search.study()
                optuna.copy_study(from_study_name=study.study_name, from_storage=study._storage, to_storage=storage)
    finally:
        optuna.logging.set_verbosity(before)
    return storage


def _own_address_only(app: WSGIApplication) -> WSGIApplication:
    """Refuse requests for other host names, so that DNS rebinding cannot read the studies."""

    def checked(environ: dict[str, Any], start: Any) -> Any:
        named = str(environ.get("HTTP_HOST", ""))
        if server.is_loopback(named.rpartition(":")[0].strip("[]")):
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"use the address that `sweeps dashboard` printed\n"]

    return checked


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log requests."""
