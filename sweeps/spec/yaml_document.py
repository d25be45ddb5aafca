"""Reads a YAML file as plain data and keeps the place of every value.

Numbers, booleans and null are read as in YAML 1.2: `1e-5` is a number (PyYAML: text), `on` and `12:30` are text
(PyYAML: true and 750). A repeated key is an error (PyYAML silently takes the last one).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sweeps.errors import SweepError

Place = tuple[str | int, ...]
"""Path to a value: keys and list positions."""

EDITOR_LINE = "# yaml-language-server:"
"""Start of a comment that tells an editor which JSON schema the file has."""
_DEPTH = 40
_NULL, _TRUE, _FALSE = ("", "~", "null", "Null", "NULL"), ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_FLOAT_EVERYWHERE = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?$")


@dataclass
class Document:
    """A parsed YAML file."""

    name: str
    """File name, used in errors."""
    text: str
    value: dict[str, Any]
    origins: dict[Place, str]
    """Where each value comes from: `file:line`, `tiny` or `--set key=value`."""
    notes: list[str] = field(default_factory=list)
    """Remarks for the user on how values were read."""

    @property
    def header(self) -> str:
        """The comment block at the top of the file, without `#` and without a line for the editor."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith(EDITOR_LINE):
                lines.append(line.lstrip("#").removeprefix(" "))
        return "\n".join(lines).strip()

    @property
    def question(self) -> str:
        """The first line of the header."""
        return self.header.partition("\n")[0]

    def origin(self, place: Place) -> str:
        """The origin of the value at a place, else that of the innermost mapping or list around it."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.origins:
                return self.origins[place[:length]]
        return self.name

    def set(self, place: Place, value: Any, origin: str) -> None:
        """Set a value; an existing value or mapping at the place is replaced as a whole."""
        inner = self.value
        for step, key in enumerate(place[:-1]):
            below = inner.get(key)  # type: ignore[arg-type]
            if below is None:
                below = inner[key] = {}  # type: ignore[index]
                self.origins[place[: step + 1]] = origin
            if not isinstance(below, dict):
                at = ".".join(map(str, place[: step + 1]))
                raise SweepError(origin, f"`{at}` is not a mapping", "a key inside nested mappings", "check the key")
            inner = below
        inner[place[-1]] = value  # type: ignore[index]
        self.origins = {p: o for p, o in self.origins.items() if p[: len(place)] != place}
        self.origins[place] = origin


def read(path: Path) -> Document:
    """Read a YAML file. SweepError, with the line, if it is missing, malformed or repeats a key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) if path.parent.is_dir() else ""
        raise SweepError(str(path), "there is no such file", near or "a sweep file", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(str(path), f"it cannot be read ({error})", "a readable UTF-8 file", "check the file") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> Document:
    """Parse a text; `name` is used in errors."""
    try:
        node = _compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SweepError(place, f"it is not valid YAML ({problem})", "YAML", "check indentation and colons") from None
    if not isinstance(node, yaml.MappingNode):
        allowed = "a sweep file: `name:`, `task:`, `base:`, ..."
        raise SweepError(name, "its top level is not a mapping", allowed, "see docs/sweep-files.md")
    reader = _Reader(name)
    value = reader.read(node, ())
    return Document(name, text, value, reader.origins, reader.notes)


def parse_value(text: str) -> Any:
    """The value of `--set KEY=VALUE`, parsed as in a file. SweepError if it is not valid YAML."""
    try:
        node = _compose(text) if text.strip() else None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        allowed = "a value as in a sweep file: 3, 1.0e-3, word, [1, 2], {name: lines}"
        raise SweepError(
            f"--set: the value {text!r}", f"it is not valid YAML ({problem})", allowed, "quote it for the shell"
        ) from None
    return None if node is None else _Reader("--set").read(node, ())


def dump(value: dict[str, Any]) -> str:
    """Plain data as a text that `parse` reads as the same data."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes text that `_Reader` would take for a number, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    read = _Reader("").plain(text, "")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if isinstance(read, str) else "'")


_Dumper.add_representer(str, _represent_text)


def _compose(text: str) -> yaml.Node | None:
    """Parse a text with PyYAML's compiled parser (10 times faster), or its Python parser for more precise errors."""
    if yaml.__with_libyaml__:
        try:
            return yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.YAMLError:
            pass
    return yaml.compose(text, Loader=yaml.SafeLoader)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.origins: dict[Place, str] = {}
        self.notes: list[str] = []

    def read(self, node: yaml.Node, place: Place) -> Any:
        line = f"{self.name}:{node.start_mark.line + 1}"
        self.origins.setdefault(place, line)
        if len(place) > _DEPTH:
            why = "it is nested too deeply, or an alias contains itself"
            raise SweepError(line, why, f"at most {_DEPTH} levels", "write it without aliases")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*place, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else self.plain(node.value, line)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise SweepError(line, "a key is a list or a mapping", "text as a key", "write a plain key")
            key = str(key_node.value)
            if key in mapping:
                raise SweepError(
                    f"{line}: `{key}`", "the key is repeated in one mapping", "each key once", "remove one of them"
                )
            self.origins[(*place, key)] = line
            mapping[key] = self.read(value_node, (*place, key))
        return mapping

    def plain(self, text: str, line: str) -> Any:
        """The value of an unquoted scalar."""
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INT.match(text):
            return int(text)
        if _FLOAT.match(text):
            number = float(text)
            if not _FLOAT_EVERYWHERE.match(text):
                exact = f"{number:.17g}" if "e" not in text.lower() else text.lower().replace("e", ".0e", 1)
                self.notes.append(
                    f"{line}: {text} is read as the number {number:g}; YAML 1.1 readers take it for text, "
                    f"all readers take {exact} for a number"
                )
            return number
        return text
