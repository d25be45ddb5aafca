"""What the server does with requests before Streamlit: headers, the token of an address, closed endpoints."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from analysis.dashboard.auth import access
from analysis.dashboard.settings import DashboardSettings

_CLOSED = ("/_stcore/metrics",)
"""Endpoints of Streamlit that describe the process to whoever asks."""
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
"""The browser may request everything from this server and nothing from any other one."""


class Guard:
    """ASGI middleware. base: path under which a proxy serves the dashboard, such as `/sweeps`, or ''."""

    ADDED = (
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", _POLICY.encode()),
    )

    def __init__(self, app: Any, given: DashboardSettings, base: str = "") -> None:
        self._app, self._given, self._base = app, given, base

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"].endswith(_CLOSED):
                await _answer(send, 404, [])
                return
            if headers := self._login(scope):
                await _answer(send, 302, headers)
                return

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self.ADDED]}
            await send(message)

        await self._app(scope, receive, sending)

    def _login(self, scope: Any) -> list[tuple[bytes, bytes]]:
        """Headers that replace the right token in an address by a cookie, so that a reload keeps it; otherwise none."""
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        offered = dict(asked).get("token")
        if scope["method"] != "GET" or offered is None or not access.token_matches(self._given, offered):
            return []
        rest = urlencode([(key, value) for key, value in asked if key != "token"])
        place = "./" + quote(scope["path"].rpartition("/")[2]) + (f"?{rest}" if rest else "")
        name, value = access.cookie(self._given)
        kept = f"{name}={value}; Path={self._base or '/'}; HttpOnly; SameSite=Strict"
        return [(b"location", place.encode()), (b"set-cookie", kept.encode()), (b"cache-control", b"no-store")]


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *Guard.ADDED]})
    await send({"type": "http.response.body", "body": b""})
