"""Hostile values in the objects of a store: where they can be put, and a store to put them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.results import notes
from sweeps.results.notes import Note
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.golden import old_store

PLAN = "sweeps/golden-report/plans/0001.json"
Place = tuple[str | int, ...]
"""Keys and indices that lead to a value in JSON."""


def values(marker: Path, code: Path) -> tuple[str, ...]:
    """What is put in place of texts. marker: a file that nothing may create. code: a Python file that creates it."""
    return (
        "../../../evil",
        "/etc/passwd",
        "..\\..\\evil",
        "C:evil",
        "%2e%2e%2fevil",
        "evil\0",
        "evil:main",
        "os:system",
        "__import__",
        f"__import__('pathlib').Path({str(marker)!r}).touch()",
        str(code),
        f"{code}:Net",
        f"touch {marker}",
        "../" * 20 + str(code).lstrip("/"),
        "evil.py#0123456789abcdef",
        "../evil.py:Net#0123456789abcdef",
        "os.py:system#0123456789abcdef",
    )


def make(folder: Path) -> FolderStore:
    """The store that an interrupted run has left, with a finished trial of each kind of model."""
    old_store.unpack(folder)
    store = FolderStore(folder)
    trial = store.children("trials")[0]
    for note in (
        Note(notes.NOTE, "ada", "look at the edges", ["edges"], trial),
        Note(notes.VIEW, "ada", "by arm", page="sweep", address={"view": "Curves"}),
    ):
        notes.add(store, old_store.REPORTED, note)
    return store


def kinds(store: FolderStore) -> list[str]:
    """One key of each kind of JSON object."""
    found: dict[str, str] = {}
    for key in store.keys(""):
        if key.endswith(".json"):
            found.setdefault(re.sub(r"[0-9a-f]{8,}|\d+|golden-[a-z]+", "*", key), key)
    return list(found.values())


def texts(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all texts in JSON, one for each form of place: lists and ids count once."""
    seen: set[Place] = set()
    for one in _texts(value, place):
        form = tuple("*" if isinstance(part, int) or re.fullmatch(r"[0-9a-f]{16}|\d+", part) else part for part in one)
        if form not in seen:
            seen.add(form)
            yield one


def _texts(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*place, index))


def plant(store: FolderStore, key: str, place: Place, text: str) -> bytes:
    """Put a text at a place of an object, as its writer would have written it. Returns what the object was."""
    before = store.get(key)
    body = layout.load(key, before)
    inner = body
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = text
    store.put(key, layout.dump(body))
    return before
