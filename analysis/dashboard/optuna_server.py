"""Start optuna-dashboard, where it is installed, on the searches of a store."""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import replace
from typing import Any

from analysis.dashboard import server
from analysis.dashboard.settings import Settings
from sweeps import ledger
from sweeps.errors import SweepError
from sweeps.search import stored_searches
from sweeps.store import Store

_PACKAGE = "optuna_dashboard"


def beside(given: Settings, store: Store, host: str) -> Settings:
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
    with server.listening(host, 0) as taken:
        port = taken.getsockname()[1]
    module: Any = importlib.import_module(_PACKAGE)
    served = {"storage": studies(store), "host": host, "port": port}
    threading.Thread(target=module.run_server, kwargs=served, daemon=True).start()
    return replace(given, optuna=f"http://{host}:{port}")


def studies(store: Store) -> Any:
    """One Optuna storage in memory with every search of the store."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    for name in ledger.sweep_names(store):
        for search in stored_searches(store, name).values():
            study = search.study()
            optuna.copy_study(from_study_name=study.study_name, from_storage=study._storage, to_storage=storage)
    return storage
