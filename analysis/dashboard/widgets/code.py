"""The code of users that trials ran, as text from the store: its files, and what differs. Nothing is executed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import streamlit as st

from analysis.dashboard.context import current
from analysis.dashboard.widgets import elements
from sweeps.errors import SweepError
from sweeps.store import code as stored_code

_LANGUAGES = {".py": "python", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash"}
_MOST_CHARACTERS = 60_000
"""What is shown of a file, or of all differences; the rest is only counted."""
_MOST_LINES = 5_000
"""Files with more lines are not compared line by line, which takes too long."""


def files(config: Mapping[str, Any]) -> None:
    """The files of the code that a configuration names, one at a time."""
    found = _read(config)
    if not found:
        elements.empty_state("No code of its own", "This trial ran only code of this package.")
        return
    chosen = elements.select_box("File", list(found), "file")
    _show(found[chosen], _LANGUAGES.get(PurePosixPath(chosen.partition(" ")[0]).suffix))
    hashes = ", ".join(stored_code.hashes_in(config))
    elements.note(f"{len(found)} files, from the folders of {current().reader.store.uri}/code: {hashes}.")


def difference(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """What differs between the code of the first configuration and that of each other one, by the name of each."""
    found = {name: _read(config) for name, config in configs.items()}
    first, *others = found
    if not any(found.values()):
        elements.empty_state("No code of their own", "They ran only code of this package.")
        return
    for other in others:
        elements.heading(f"{first} → {other}")
        text = unified(found[first], found[other])
        if text:
            _show(text, "diff")
        else:
            elements.note("The same code.")


def unified(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The unified difference of two sets of files; empty if they are equal."""
    parts: list[str] = []
    for path in sorted({*old, *new}):
        before, after = (files.get(path, "").splitlines() for files in (old, new))
        if max(len(before), len(after)) > _MOST_LINES and before != after:
            parts.append(f"--- {path}\n+++ {path}\n differs; it is too long to compare")
            continue
        old_name, new_name = (path if path in files else "(none)" for files in (old, new))
        parts += difflib.unified_diff(before, after, old_name, new_name, lineterm="")
    return "\n".join(parts)


def _show(text: str, language: str | None) -> None:
    st.code(text[:_MOST_CHARACTERS], language=language, line_numbers=language != "diff")
    if len(text) > _MOST_CHARACTERS:
        elements.note(f"The first {_MOST_CHARACTERS:,} of {len(text):,} characters.")


def _read(config: Mapping[str, Any]) -> dict[str, str]:
    """The text of each file by path; of several codes with a file of one name, also its hash where they differ."""
    found: dict[str, str] = {}
    for name in stored_code.hashes_in(config):
        try:
            stored = stored_code.get_code(current().reader.store, name)
        except SweepError as error:
            elements.show_error(error)
            continue
        for path, content in stored.items():
            text = _text(content)
            found[path if found.get(path, text) == text else f"{path} ({name})"] = text
    return dict(sorted(found.items(), key=lambda item: (not item[0].endswith(".py"), item[0])))


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"{len(content):,} bytes that are no text"
