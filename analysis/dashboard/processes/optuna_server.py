"""Start optuna-dashboard, where it is installed, on the searches of a store."""

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
    """Serve the searches as they are now from a thread, and note where.

    Raises SweepError where the package is missing, or where others would reach it: it knows no token.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise SweepError(
            "--optuna",
            "the package optuna-dashboard is not installed",
            "an installed one",
            "pip install optuna-dashboard; the page of a sweep has Optuna's figures without it",
        )
    if not server.is_loopback(host):
        raise SweepError("--optuna", "optuna-dashboard knows no token", "--optuna on 127.0.0.1", "leave --host out")
    module: Any = importlib.import_module(_PACKAGE)
    served = make_server(_HOST, 0, _own_address_only(module.wsgi(copy_studies(store))), _Server, _Quiet)
    threading.Thread(target=served.serve_forever, name="optuna-dashboard", daemon=True).start()
    return replace(given, optuna=f"http://{_HOST}:{served.server_port}")


def copy_studies(store: Store) -> Any:
    """One Optuna storage in memory with every search of the store: what somebody changes there changes no store."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells each study that is made
    try:
        for name in stored_plans.sweep_names(store):
            for search in stored_searches(store, name).values():
                study = search.study()
                optuna.copy_study(from_study_name=study.study_name, from_storage=study._storage, to_storage=storage)
    finally:
        optuna.logging.set_verbosity(before)
    return storage


def _own_address_only(app: WSGIApplication) -> WSGIApplication:
    """Refuse requests that name another host: a page elsewhere whose name leads here could read the studies."""

    def checked(environ: dict[str, Any], start: Any) -> Any:
        named = str(environ.get("HTTP_HOST", ""))
        if server.is_loopback(named.rpartition(":")[0].strip("[]")):
            return app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"ask for this server by the address that `sweeps dashboard` has printed\n"]

    return checked


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """No line a request on the terminal."""
