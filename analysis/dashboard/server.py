"""Starts Streamlit's server with the dashboard's script, protected against unauthorised access."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from analysis.dashboard import settings, theme
from analysis.dashboard.auth.login import Login
from analysis.dashboard.auth.middleware import Guard
from analysis.dashboard.settings import DashboardSettings
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from analysis.dashboard.context import ServerState

_SCRIPT = Path(__file__).parent / "app.py"
_LOOPBACK = ["localhost", "127.0.0.1", "::1"]


def settings_for(
    host: str, token: str | None, store: str, data: str | None, address: str | None, login: Login | None = None
) -> DashboardSettings:
    """Settings for a new dashboard. Raises SweepError if others can reach the host and there is no token or login."""
    if not is_loopback(host) and not token and not login:
        raise SweepError(
            f"--host {host}",
            "everybody who can reach this host could read the store and start or stop sweeps",
            "127.0.0.1, or any other host with a token or a login",
            f"sweeps dashboard --host {host} --token {secrets.token_urlsafe(12)}; or leave out --host and use a tunnel",
        )
    if token is not None and len(token) < 8:
        raise SweepError("--token", f"it has {len(token)} characters", "8 or more", secrets.token_urlsafe(12))
    if token is not None and login is not None:
        why = "the token would bypass the login"
        raise SweepError("--token and --login", why, "one of them", "leave out --token")
    if address is not None and (address.startswith("ray://") or "://" in address):
        raise SweepError(
            f"--address {address}",
            "the buttons run `sweeps resume`, which does not accept such an address",
            "local, auto, or HOST:PORT of a running Ray",
            "--address auto, on a node of the cluster",
        )
    closed = token is not None or login is not None
    found = DashboardSettings(store, token or secrets.token_urlsafe(12), closed, data, address)
    return replace(found, login=True, allowed=login.allowed) if login else found


def is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def with_base_path(given: DashboardSettings, public: str) -> DashboardSettings:
    """The settings of a dashboard behind a proxy that serves it as `public`: a path, or an address with one.

    Raises SweepError for anything else, and if neither a token nor a login protects the pages.
    """
    if not re.fullmatch(r"(https?://[A-Za-z0-9.-]+(:[0-9]+)?)?(/[A-Za-z0-9._~-]+)*/?", public):
        allowed = "a path such as /sweeps, or https://HOST/PATH as browsers reach it"
        raise SweepError(f"--base-path {public}", "it is neither a path nor an address", allowed, "--base-path /sweeps")
    if not given.closed:
        why = "everybody who can reach the proxy could read the store"
        fix = f"--base-path {public} --token {secrets.token_urlsafe(12)}"
        raise SweepError(f"--base-path {public}", why, "a token or a login with it", fix)
    return replace(given, public=public.rstrip("/"))


def options(host: str, port: int, login: Login | None = None, public: str = "") -> dict[str, Any]:
    """Streamlit's options: no telemetry, CORS and XSRF protection on, no tracebacks on pages.

    public: path or address under which a proxy serves the dashboard, or ''
    """
    outside = urlsplit(public)
    names = [outside.hostname] if outside.hostname else []
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.allowedHosts": [*_LOOPBACK, *names] if is_loopback(host) else [],
        "server.baseUrlPath": outside.path.strip("/"),
        "server.corsAllowedOrigins": [f"{outside.scheme}://{outside.netloc}"] if names else [],
        "server.maxUploadSize": settings.UPLOAD_MB,
        "server.enableStaticServing": False,
        "server.disconnectedSessionTTL": 30,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": outside.hostname or host,
        "runner.magicEnabled": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.level": "error",
        **({"secrets.files": [str(login.file)]} if login else {}),
        **theme.options(),
    }


def serve(host: str, port: int, given: DashboardSettings, login: Login | None = None) -> None:
    """Serve until Ctrl-C. Raises SweepError if the port is taken."""
    with listening(host, port) as taken:
        port = taken.getsockname()[1]
        settings.to_environment(replace(given))
        shown = f"[{host}]" if ":" in host else host
        print(f"store      {given.store}")
        place = given.public if "://" in given.public else f"http://{shown}:{port}{given.base}"
        print(f"dashboard  {place}/{'' if login else f'?token={quote(given.token)}'}")
        if login:
            whom = f"{len(login.allowed)} e-mail addresses" if login.allowed else "EVERYBODY whom it accepts"
            print(f"login      {login.provider}: allows {whom}")
        if not given.closed:
            print("           without the token, pages can be viewed, but nothing can be started or stopped")
        if given.optuna:
            print(f"optuna     {given.optuna}")
        print("Press Ctrl-C to end the dashboard; commands that it has started go on", flush=True)
        _run(host, port, taken, given, login)


def _run(host: str, port: int, taken: socket.socket, given: DashboardSettings, login: Login | None) -> None:
    import uvicorn
    from starlette.middleware import Middleware
    from streamlit import App, config

    from analysis.dashboard import context

    config.get_config_options(force_reparse=True, options_from_flags=options(host, port, login, given.public))
    threading.Thread(target=_warm_up, args=(context.current,), name="warm-up", daemon=True).start()
    guard = Middleware(Guard, given=given, base=given.base)
    app = App(_SCRIPT, middleware=[guard])
    quiet = uvicorn.Config(app, log_level="warning", access_log=False, ws_max_size=settings.UPLOAD_MB << 20)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(quiet).run(sockets=[taken])


def _warm_up(current: Callable[[], ServerState]) -> None:
    """Connect to the store and read what the first page shows, before it is requested."""
    with contextlib.suppress(SweepError):  # the page shows the error
        shared = current()
        shared.summaries.lines()
        from analysis.dashboard import app  # noqa: F401 - imports the plotting libraries

        _ = shared.reader.writable


@contextlib.contextmanager
def listening(host: str, port: int) -> Any:
    """A socket that listens on host and port, opened before the address is printed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
            bound.listen(128)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SweepError(
                f"--host {host} --port {port}", why, "a free port of this machine, or 0 for any", "--port 0"
            ) from error
        yield bound
    finally:
        bound.close()
