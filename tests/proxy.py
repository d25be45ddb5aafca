"""A proxy in front of an S3 server that injects faults (errors, delays, cut connections) and counts requests."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """A client's request: method, path with query, headers."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def access_key(self) -> str:
        """The access key that signed the request."""
        return self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True)
class Answer:
    """An error instead of the server's answer."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict)


CUT = "cut"
"""Instead of an answer: read half of the body, then reset the connection."""
LOST = "lost"
"""Instead of an answer: let the server handle the request, then reset the connection."""
Fault = Callable[[Request], Answer | str | None]


class Proxy:
    """Passes requests on to a server, unless `fault` returns a fault.

    fault: returns the fault of a request, or None to pass it on. latency_s: delay before each answer. away: reset every
    connection. requests: all requests so far, including refused ones.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.fault: Fault = lambda _: None
        self.latency_s = 0.0
        self.away = False
        self.requests: list[Request] = []
        self._server = _Listening(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, times: int, answer: Answer | str, matching: Callable[[Request], bool] = lambda _: True) -> None:
        """Apply a fault to the next `times` matching requests, and pass on all others."""
        left = [times]

        def fault(request: Request) -> Answer | str | None:
            if not matching(request) or left[0] <= 0:
                return None
            left[0] -= 1
            return answer

        self.fault = fault


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.end()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: reset connections are intended."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listening

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass(self) -> None:
        proxy = self.server.proxy
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        proxy.requests.append(request)
        fault = CUT if proxy.away else proxy.fault(request)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length // 2 if fault == CUT else length)
        time.sleep(proxy.latency_s)
        if fault == CUT:
            return self._reset()
        if isinstance(fault, Answer):
            return self._refuse(fault)
        upstream = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        except OSError:
            return self._reset()
        finally:
            upstream.close()
        if fault == LOST:
            return self._reset()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", answer.headers["Content-Length"] if self.command == "HEAD" else str(len(data))
        )
        self.end_headers()
        self.wfile.write(data)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def _refuse(self, answer: Answer) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{answer.code}</Code><Message>by the proxy</Message></Error>".encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _reset(self) -> None:
        """End the connection with a reset instead of a regular close."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
