"""Damages objects of a store one at a time, as disks, power cuts and editors do, and runs verbs on it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import random
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store.local import FolderStore

Damage = Callable[[bytes, random.Random], bytes]


def flip_bit(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def cut_short(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def empty(data: bytes, chance: random.Random) -> bytes:  # noqa: ARG001
    return b""


def wrong_shape(data: bytes, chance: random.Random) -> bytes:
    """JSON without a checksum, of which one value was replaced or one required key removed; other data become JSON."""
    try:
        value = json.loads(data)
    except ValueError:
        return b"{}"
    if isinstance(value, dict):
        value.pop(layout.CHECKSUM, None)
    places = list(_places(value))
    holder, key = chance.choice(places) if places else (None, None)
    if holder is None or chance.random() < 0.1:
        return json.dumps(chance.choice([[], {}, None, 3, "x"])).encode()
    optional = key in _OPTIONAL or (isinstance(value, dict) and holder is value.get("history"))
    if isinstance(holder, dict) and not optional and chance.random() < 0.3:
        del holder[key]
    else:
        old = holder[key]
        values: list[Any] = [[], {}, None, -3, "x", [None]]
        holder[key] = chance.choice([value for value in values if type(value) is not type(old)])
    return json.dumps(value).encode()


_OPTIONAL = ("notes", "files", "facts", "provenance", "started_at", "ended_at", "attempt")
"""Keys of results that older versions did not write, so their absence is no damage; likewise columns of a history."""


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON value; configurations are taken as one value, since any may be valid."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        if key not in ("config", "identity", "space", "provenance", "facts", "resources"):
            yield from _places(inner, depth + 1)


DAMAGES: tuple[Damage, ...] = (flip_bit, cut_short, empty, wrong_shape)


@dataclass(frozen=True)
class Outcome:
    """What a verb did."""

    code: int
    out: str
    err: str
    """Standard error, with log records."""
    crash: str
    """Traceback of an exception that is not a user error; '' without one."""
    seconds: float

    @property
    def names_damage(self) -> bool:
        return "damaged" in self.out or "damaged" in self.err

    @property
    def numbers(self) -> str:
        """The output without what depends on the time of day."""
        return re.sub(r"\d+ (seconds?|minutes?|hours?|s|min|h) ago", "ago", self.out)


def verb(*arguments: str) -> Outcome:
    """Run the command in this process."""
    layout._reported.clear()
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    log = logging.getLogger("sweeps.store")
    log.addHandler(handler)
    began, code, crash = time.monotonic(), 0, ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except Exception:
        crash = traceback.format_exc()
    finally:
        log.removeHandler(handler)
    return Outcome(code, out.getvalue(), err.getvalue(), crash, time.monotonic() - began)


@contextlib.contextmanager
def damaged(store: FolderStore, key: str, damage: Damage, chance: random.Random) -> Iterator[bytes]:
    """Damage an object, and restore it afterwards."""
    before = store.get(key)
    after = damage(before, chance)
    path = store.root / key
    path.write_bytes(after)
    try:
        yield after
    finally:
        path.write_bytes(before)


def judge(clean: Outcome, outcome: Outcome) -> str:
    """What is wrong with a verb on a damaged store; '' if nothing is."""
    if outcome.crash:
        return outcome.crash
    if outcome.seconds > 10 + 10 * clean.seconds:
        return f"it took {outcome.seconds:.0f} s"
    if outcome.code not in (0, 1, 2):
        return f"exit code {outcome.code}"
    if outcome.numbers != clean.numbers and not outcome.names_damage:
        return f"other numbers, and no damage named:\n{outcome.out}\n{outcome.err}"
    return ""
