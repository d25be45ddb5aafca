"""Reads a YAML file as plain data and keeps the place of every value.

Numbers, booleans and null are read as in YAML 1.2: `1e-5` is a number (PyYAML: text), `on` and `12:30` are text
(PyYAML: true and 750). A repeated key is an error (PyYAML silently takes the last one). A merge key (`<<: *alias`) is
read as in YAML 1.1. Size, nesting, the number of values that aliases expand to, and the size of numbers are bounded, so
that any text is read or refused at once.
"""

from __future__ import annotations

import math
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
_MOST_BYTES = 2_000_000
_MOST_VALUES = 50_000
"""Values of a file, those of aliases counted wherever they are used."""
_LARGEST = 2**63 - 1
_MERGE = "tag:yaml.org,2002:merge"
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
                raise SweepError(origin, f"`{at}` is not a mapping", "a key inside nested mappings", f"{at}: {{...}}")
            inner = below
        inner[place[-1]] = value  # type: ignore[index]
        self.origins = {p: o for p, o in self.origins.items() if p[: len(place)] != place}
        self.origins[place] = origin


def read(path: Path) -> Document:
    """Read a YAML file. SweepError, with the line, if it is missing, malformed or repeats a key."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        return parse(content.decode("utf-8-sig"), path.name)
    except FileNotFoundError:
        near = ", ".join(sorted(p.name for p in path.parent.glob("[!.]*.yaml"))) if path.parent.is_dir() else ""
        fix = "sweeps list studies, or sweeps new sweep FILE.yaml, which writes one"
        raise SweepError(str(path), "there is no such file", near or "a sweep file", fix) from None
    except UnicodeDecodeError as error:
        why = f"it is not text in UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02x})"
        raise SweepError(str(path), why, "a text file in UTF-8", "save the file as UTF-8 in your editor") from None
    except OSError as error:
        why = f"it cannot be read ({error.strerror or error})"
        raise SweepError(str(path), why, "a file that this user may read", f"ls -ld {path}") from None


def parse(text: str, name: str) -> Document:
    """Parse a text; `name` is used in errors."""
    node = _compose(text.removeprefix("\ufeff"), name)
    if not isinstance(node, yaml.MappingNode):
        allowed = "a sweep file: `name:`, `task:`, `base:`, ..."
        raise SweepError(name, "its top level is not a mapping", allowed, "see docs/sweep-files.md")
    reader = _Reader(name)
    value = reader.read(node, ())
    return Document(name, text, value, reader.origins, reader.notes)


def parse_value(text: str) -> Any:
    """The value of `--set KEY=VALUE`, parsed as in a file. SweepError if it is not valid YAML."""
    node = _compose(text, "--set") if text.strip() else None
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


def _compose(text: str, name: str) -> yaml.Node | None:
    """Parse a text with PyYAML's compiled parser (10 times faster), or its Python parser for more precise errors.

    PyYAML builds nodes by recursion, in C without a limit, so the nesting is counted in the stream of events before.
    """
    if len(text) > _MOST_BYTES:
        why = f"it has more than {_MOST_BYTES:,} characters"
        raise SweepError(name, why, "a sweep file of some kB", "move data out of the file, and name its path instead")
    loader: Any = yaml.SafeLoader
    if yaml.__with_libyaml__:
        try:
            _check_depth(text, name, yaml.CSafeLoader)
            loader = yaml.CSafeLoader
        except (yaml.YAMLError, UnicodeError):
            pass
    try:
        if loader is yaml.SafeLoader:
            _check_depth(text, name, loader)
        return yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        if name == "--set":
            place, fix = f"--set: the value {text!r}", "put the whole of KEY=VALUE in single quotes: --set 'KEY=[1, 2]'"
        else:
            fix = "correct the indentation and colons of that line; quote text that contains `: ` or begins with @, %"
        allowed = "values as in a sweep file: 3, 1.0e-3, word, 'any text', [1, 2], {name: lines}"
        raise SweepError(place, f"it is not valid YAML ({problem})", allowed, fix) from None


def _check_depth(text: str, name: str, loader: Any) -> None:
    """Raise SweepError if lists and mappings are nested too deeply, YAMLError if the text is not YAML."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            mark = event.start_mark
            raise _too_deep_error(f"{name}:{mark.line + 1}" if mark else name)


def _too_deep_error(line: str) -> SweepError:
    why = "it is nested too deeply, or an alias contains itself"
    fix = "take lists and mappings out of others, and write an alias that contains itself out"
    return SweepError(line, why, f"at most {_DEPTH} levels", fix)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.origins: dict[Place, str] = {}
        self.notes: list[str] = []
        self._values = 0

    def read(self, node: yaml.Node, place: Place) -> Any:
        line = f"{self.name}:{node.start_mark.line + 1}"
        self.origins.setdefault(place, line)
        self._values += 1
        if self._values > _MOST_VALUES:
            why = f"the file has more than {_MOST_VALUES:,} values up to here, those of aliases included"
            fix = "write what is needed without aliases of aliases, or divide the file into several sweeps"
            raise SweepError(line, why, f"at most {_MOST_VALUES:,} values", fix)
        if len(place) > _DEPTH:
            raise _too_deep_error(line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*place, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else self.plain(node.value, line)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in sorted(node.value, key=lambda pair: pair[0].tag != _MERGE):
            line = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise SweepError(line, "a key is a list or a mapping", "text as a key", "write a plain key: `name: 1`")
            key = str(key_node.value)
            if key_node.tag == _MERGE:
                merged = {**self._merged(value_node, place, line), **merged}
                continue
            if key in mapping:
                raise SweepError(
                    f"{line}: `{key}`", "the key is repeated in one mapping", "each key once", "remove one of the two"
                )
            self.origins[(*place, key)] = line
            mapping[key] = self.read(value_node, (*place, key))
        return {**{key: value for key, value in merged.items() if key not in mapping}, **mapping}

    def _merged(self, node: yaml.Node, place: Place, line: str) -> dict[str, Any]:
        """The keys of `<<: *one` or `<<: [*one, *other]`, of which the first has priority."""
        merged: dict[str, Any] = {}
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(one, yaml.MappingNode):
                allowed = "<<: *NAME, or <<: [*NAME, *OTHER], of mappings that are marked with &NAME before"
                raise SweepError(f"{line}: `<<`", "it does not name a mapping", allowed, "<<: *NAME")
            merged = {**self.read(one, place), **merged}
        return merged

    def plain(self, text: str, line: str) -> Any:
        """The value of an unquoted scalar."""
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INT.match(text):
            if len(text) > 40 or abs(int(text)) > _LARGEST:
                raise _too_large_error(line, text, "1.0e+20 for a large number")
            return int(text)
        if _FLOAT.match(text):
            number = float(text)
            if math.isinf(number):
                raise _too_large_error(line, text, "a smaller number")
            if not _FLOAT_EVERYWHERE.match(text):
                exact = f"{number:.17g}" if "e" not in text.lower() else text.lower().replace("e", ".0e", 1)
                self.notes.append(
                    f"{line}: {text} is read as the number {number:g}; YAML 1.1 readers take it for text, "
                    f"all readers take {exact} for a number"
                )
            return number
        return text


def _too_large_error(line: str, text: str, instead: str) -> SweepError:
    allowed = f"whole numbers of at most {_LARGEST:,} and numbers below 1.8e308, plus or minus"
    fix = f"write {instead}, or quotes around it if it is text"
    return SweepError(f"{line}: {text}", "the number is too large", allowed, fix)
