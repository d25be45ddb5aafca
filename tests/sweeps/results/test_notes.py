"""Notes of people in a store: stored with author and checksum, checked when written and when read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import SweepError
from sweeps.results import notes
from sweeps.results.notes import NOTE, STAR, VIEW, Note
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests import hostile

TRIAL = "0123456789abcdef"


def test_notes_are_read_as_written_in_their_order(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = notes.add(store, "a", Note(NOTE, " Ada ", "wide\x1b[31m nets ", notes.parse_tags("Paper, edges paper")))
    star = notes.add(store, "a", Note(STAR, "Bo", trial=TRIAL))
    view = notes.add(store, "a", Note(VIEW, "Bo", "SSIM", page="sweep", address={"arms": ["x", "y"]}))
    found = notes.read(store, ["a", "b"])
    assert found == {"a": [first, star, view], "b": []}
    assert (first.author, first.text, list(first.tags)) == ("Ada", "wide\\x1b[31m nets", ["paper", "edges"])
    assert notes.tags_of(found["a"]) == ["edges", "paper"]
    assert notes.starred(found["a"]) == {TRIAL}
    notes.remove(store, "a", first.token)
    assert notes.read(store, ["a"]) == {"a": [star, view]}
    key = f"sweeps/a/notes/{star.token}.json"
    store.put(key, store.get(key).replace(b"Bo", b"Mo"))
    assert notes.read(store, ["a"]) == {"a": [view]}, "its checksum is wrong"


@pytest.mark.parametrize(
    "note",
    [
        Note("joke", "Ada", "x"),
        Note(NOTE, "  ", "x"),
        Note(NOTE, "Ada", tags=["two words"]),
        Note(NOTE, "Ada", tags=[f"t{number}" for number in range(11)]),
        Note(STAR, "Ada", trial="../x"),
        Note(VIEW, "Ada", "x", page="../x"),
        Note(VIEW, "Ada", "x", page="sweep", address={"k" * 301: ""}),
    ],
)
def test_what_is_no_note_is_refused(tmp_path: Path, note: Note) -> None:
    with pytest.raises(SweepError):
        notes.add(FolderStore(tmp_path), "a", note)
    assert list(FolderStore(tmp_path).keys("")) == []


@pytest.mark.parametrize(("name", "token"), [("../a", "ab"), ("a", "../../plans/0001"), ("a/b", "ab")])
def test_paths_are_refused(tmp_path: Path, name: str, token: str) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(SweepError):
        notes.remove(store, name, token)
    with pytest.raises(SweepError):
        notes.add(store, f"../{name}", Note(NOTE, "Ada", "x"))


def test_hostile_values_are_text_or_passed_over(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    written = notes.add(store, "a", Note(VIEW, "Ada", "x", ["tag"], TRIAL, "sweep", {"view": "Curves"}))
    key = f"sweeps/a/notes/{written.token}.json"
    for place in hostile.texts(layout.load(key, store.get(key))):
        for value in hostile.values(tmp_path / "marker", tmp_path / "evil.py"):
            before = hostile.plant(store, key, place, value)
            for note in notes.read(store, ["a"])["a"]:
                assert note.page == "sweep"
                assert note.trial == TRIAL
                assert note.token == written.token, "the name is the key's"
            store.put(key, before)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
