"""Starts Streamlit's server with the dashboard's script, protected against unauthorised access."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analysis.dashboard import settings, theme
from analysis.dashboard.auth.login import Login
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


def options(host: str, port: int, login: Login | None = None) -> dict[str, Any]:
    """Streamlit's options: no telemetry, CORS and XSRF protection on, no tracebacks on pages."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.allowedHosts": _LOOPBACK if is_loopback(host) else [],
        "server.maxUploadSize": settings.UPLOAD_MB,
        "server.enableStaticServing": False,
        "server.disconnectedSessionTTL": 30,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
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
        print(f"dashboard  http://{shown}:{port}/{'' if login else f'?token={quote(given.token)}'}")
        if login:
            whom = f"{len(login.allowed)} e-mail addresses" if login.allowed else "EVERYBODY whom it accepts"
            print(f"login      {login.provider}: allows {whom}")
        if not given.closed:
            print("           without the token, pages can be viewed, but nothing can be started or stopped")
        if given.optuna:
            print(f"optuna     {given.optuna}")
        print("Press Ctrl-C to end the dashboard; commands that it has started go on", flush=True)
        _run(host, port, taken, login)


def _run(host: str, port: int, taken: socket.socket, login: Login | None) -> None:
    import uvicorn
    from streamlit import App, config

    from analysis.dashboard import context

    config.get_config_options(force_reparse=True, options_from_flags=options(host, port, login))
    threading.Thread(target=_warm_up, args=(context.current,), name="warm-up", daemon=True).start()
    app = App(_SCRIPT, middleware=[_headers()])
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


def _headers() -> Any:
    """Middleware that keeps other sites from framing the dashboard and from learning its addresses."""
    from starlette.middleware import Middleware

    return Middleware(_Headers)


class _Headers:
    """Adds security headers to every response."""

    ADDED = (
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    )

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self.ADDED]}
            await send(message)

        await self._app(scope, receive, sending)


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
