"""A boto3 client that retries transient S3 errors and refreshes expired credentials."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sweeps.durations import seconds
from sweeps.errors import StoreError
from sweeps.store.base import Abandoned, never
from sweeps.store.s3.errors import AWAY, EXPIRED, code_of, explain, is_wrong_key, kind_of, message_of

PATIENCE_S = 300.0
"""Seconds of retries if the server has answered before, unless SWEEPS_STORE_PATIENCE is set."""
FIRST_S = 8.0
"""Seconds of retries if the server has never answered, so that a mistyped address is reported soon."""
_SHORTEST_S, _LONGEST_S, _WARN_AFTER_S = 0.1, 8.0, 3.0
"""Shortest and longest pause between retries; seconds after which a warning is logged once."""
_CONNECT_S, _READ_S = 4.0, 30.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


class ObjectMissing(Exception):  # noqa: N818 - not an error
    """The object or upload does not exist."""


class ObjectExists(Exception):  # noqa: N818 - not an error
    """A conditional put failed because the object exists."""


class ConditionalPutUnsupported(Exception):  # noqa: N818 - not an error
    """The server does not support conditional puts."""


_HANDLED: dict[str, type[Exception]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchUpload": ObjectMissing,
    "PreconditionFailed": ObjectExists,
    "412": ObjectExists,
    "NotImplemented": ConditionalPutUnsupported,
    "501": ConditionalPutUnsupported,
}
"""Error codes that callers handle -> the exception raised for them."""


class Client:
    """See the module's docstring. Connects at the first request. Thread-safe."""

    def __init__(self, uri: str, connections: int, patience_s: float | None = None) -> None:
        """
        uri: address of the store, for errors
        connections: size of the connection pool
        patience_s: replaces SWEEPS_STORE_PATIENCE and `PATIENCE_S`
        """
        self._uri, self._connections = uri, connections
        self._patience_s = patience() if patience_s is None else patience_s
        self._lock = threading.Lock()
        self._made: Any = None
        self._answered = False

    def ask(self, verb: str, act: Callable[[Any], T], abandoned: Callable[[], bool] = never) -> T:
        """Call `act` with boto3's client, with retries.

        Raises ObjectMissing, ObjectExists, ConditionalPutUnsupported, StoreError or Abandoned.


        verb: description of the action for errors
        abandoned: polled before each try; raises Abandoned once it returns True
        """
        from botocore.exceptions import BotoCoreError, ClientError

        begun, pause, warned, renewed = time.monotonic(), _SHORTEST_S, False, False
        while True:
            if abandoned():
                raise Abandoned(verb)
            client = self.now()
            try:
                answer = act(client)
            except (BotoCoreError, ClientError) as error:
                if code_of(error) in _HANDLED:
                    self._answered = True
                    raise _HANDLED[code_of(error)] from None
                kind, waited_s = kind_of(error), time.monotonic() - begun
                if is_wrong_key(error) and not renewed:
                    kind, renewed = EXPIRED, True
                limit_s = self._patience_s if self._answered else min(FIRST_S, self._patience_s)
                if kind not in (AWAY, EXPIRED) or waited_s >= limit_s:
                    raise explain(error, verb, self._uri, client.meta.region_name, waited_s) from error
                if kind == EXPIRED:
                    self._renew(client)
                if not warned and waited_s > min(_WARN_AFTER_S, limit_s / 4):
                    warned = True
                    _log.warning("%s: cannot %s: %s; waiting up to %.0f s", self._uri, verb, message_of(error), limit_s)
                time.sleep(min(random.uniform(pause / 2, pause), limit_s - waited_s + 0.01))
                pause = min(pause * 2, _LONGEST_S)
            else:
                self._answered = True
                return answer

    def now(self) -> Any:
        """boto3's client; created at the first call."""
        with self._lock:
            if self._made is None:
                self._made = _connect(self._uri, self._connections)
            return self._made

    def _renew(self, used: Any) -> None:
        """Drop the client and its credentials, unless another thread has replaced it already."""
        with self._lock:
            if self._made is used:
                self._made = None


def patience() -> float:
    """Seconds of retries that the environment asks for. StoreError if that is not a time."""
    given = os.environ.get("SWEEPS_STORE_PATIENCE", "").strip()
    try:
        return seconds(given) if given else PATIENCE_S
    except ValueError as error:
        allowed = "seconds, or a time with its unit: 300, 90s, 5m, 2h"
        raise StoreError(
            f"SWEEPS_STORE_PATIENCE={given}", str(error), allowed, "export SWEEPS_STORE_PATIENCE=5m"
        ) from None


def _connect(uri: str, connections: int) -> Any:
    """Create a client in a new session, because boto3's default session never reloads credentials."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    settings: dict[str, Any] = {
        "max_pool_connections": connections,
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "tcp_keepalive": True,
        "retries": {"total_max_attempts": 1},  # `Client.ask` retries
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:
        settings["request_checksum_calculation"] = "when_required"  # other servers may not support AWS's new checksums
    try:
        return boto3.session.Session().client("s3", config=Config(**settings))
    except ValueError as error:
        fix = "AWS_ENDPOINT_URL=http://host:port"
        raise StoreError(
            f"store {uri!r}: AWS_ENDPOINT_URL={endpoint}", str(error), "the URL of a server", fix
        ) from error
    except BotoCoreError as error:
        raise explain(error, "connect", uri, None, 0.0) from error
