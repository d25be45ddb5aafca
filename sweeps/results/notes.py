"""Notes, tags, stars and saved views of people, kept with the sweep they are about.

Each is one object, `sweeps/<name>/notes/<token>.json`, which its author writes once; a changed note is a new one. They
are never read by a run and change no number.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeps.errors import SweepError, printable
from sweeps.results.columns import SCHEMA
from sweeps.store import layout, listing
from sweeps.store.base import Store
from sweeps.store.shapes import kinds

NOTE, STAR, VIEW = "note", "star", "view"
MOST_NOTES = 1000
"""Notes of a sweep that are read."""


@dataclass(frozen=True)
class Note:
    """What a person wrote about a sweep or one of its trials."""

    kind: str
    """NOTE, STAR (of a trial), or VIEW (a page of the dashboard)."""
    author: str
    text: str = ""
    """Of a view: its title."""
    tags: Sequence[str] = ()
    trial: str | None = None
    """The trial that it is about; None for the sweep."""
    page: str | None = None
    """Of a view: name of the page."""
    address: Mapping[str, str | list[str]] = field(default_factory=dict)
    """Of a view: the parameters of the page's address."""
    written_at: float = 0.0
    """Seconds since 1970."""
    token: str = ""
    """Name of the object."""


def read(store: Store, names: Iterable[str]) -> dict[str, list[Note]]:
    """The notes of each sweep, oldest first. Damaged ones are passed over."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for key in sorted(listing.find(store, [layout.join("sweeps", name, "notes") + "/" for name in found])):
        found[key.split("/")[1]].append(key)
    bodies = layout.intact(store.get_many([key for keys in found.values() for key in keys[:MOST_NOTES]]))
    notes = {name: [_note(key, bodies[key]) for key in keys if key in bodies] for name, keys in found.items()}
    return {name: sorted(many, key=lambda note: (note.written_at, note.token)) for name, many in notes.items()}


def _note(key: str, body: Mapping[str, Any]) -> Note:
    known = {name: body[name] for name in Note.__dataclass_fields__ if name in body}
    return Note(**{**known, "token": key.rpartition("/")[2].removesuffix(".json")})


def add(store: Store, name: str, note: Note) -> Note:
    """Store a note of a sweep. Raises SweepError if it is too long, or its tags are no words."""
    token = uuid.uuid4().hex
    clean = {"author": printable(note.author.strip())[:100], "text": printable(note.text.strip()), "token": token}
    body = {**asdict(note), **clean, "tags": list(note.tags), "written_at": time.time()}
    key = layout.join("sweeps", name, "notes", f"{token}.json")
    stored = {"schema": SCHEMA, **body}
    if why := kinds.fault(key, stored):
        raise SweepError(
            f"a {note.kind} by {clean['author'] or 'nobody'}",
            why,
            "an author, at most 4,000 characters, and at most 10 tags of letters, digits, '-', '_' and '.'",
            "shorten it, and separate tags by commas",
        )
    store.create(key, layout.dump(stored))
    return Note(**body)


def remove(store: Store, name: str, token: str) -> None:
    """Delete a note. Raises StoreError if the token is no name."""
    store.delete([layout.join("sweeps", name, "notes", f"{token}.json")])


def parse_tags(text: str) -> list[str]:
    """The tags in a text, without repetitions: words separated by commas or spaces."""
    return list(dict.fromkeys(tag.lower() for tag in re.split(r"[\s,]+", text) if tag))


def tags_of(notes: Iterable[Note]) -> list[str]:
    """The tags of a sweep itself, sorted."""
    return sorted({tag for note in notes if note.trial is None for tag in note.tags})


def starred(notes: Iterable[Note]) -> set[str]:
    """The trials with a star."""
    return {note.trial for note in notes if note.kind == STAR and note.trial}
