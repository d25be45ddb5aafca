"""Fills the placeholders of a command line: `{lr}` stands for the parameter `lr`, `{{` and `}}` for braces."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

BUILT_IN = {
    "seed": "the seed of the trial",
    "epochs": "the number of epochs",
    "out": "folder for the program's files, relative to its working directory",
    "python": "the Python interpreter that runs the sweep",
    "device": "cuda or cpu",
    "cpus": "the number of CPU threads",
    "data_root": "the folder of the data sets",
}
"""Placeholders that the trial sets, each with its meaning."""
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)\}")


def placeholders(text: str) -> list[str]:
    """The names of the placeholders in a text. Other braces, such as those of JSON, are no placeholders."""
    return [match[1] for match in _PLACEHOLDER.finditer(text) if match[1]]


def command_line(run: str | Sequence[Any], values: Mapping[str, Any]) -> list[str]:
    """The arguments of a program. A text is run by /bin/sh, with every value quoted for it.

    values: by name; nested mappings are reached by dotted names. A list becomes several arguments.
    """
    if isinstance(run, str):
        return ["/bin/sh", "-c", _filled(run, values, quoted=True)]
    arguments: list[str] = []
    for part in map(str, run):
        names = placeholders(part)
        value = _value(values, names[0]) if len(names) == 1 and part == f"{{{names[0]}}}" else None
        arguments += map(_text, value) if isinstance(value, list) else [_filled(part, values, quoted=False)]
    return arguments


def _filled(text: str, values: Mapping[str, Any], quoted: bool) -> str:
    def fill(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0][0]
        value = _value(values, match[1])
        items = [_text(item) for item in (value if isinstance(value, list) else [value])]
        return " ".join(map(shlex.quote, items) if quoted else items)

    return _PLACEHOLDER.sub(fill, text)


def _value(values: Mapping[str, Any], name: str) -> Any:
    value: Any = values
    for part in name.split("."):
        value = value[part]
    return value


def _text(value: Any) -> str:
    """A value as an argument: numbers as Python writes them, which reads back as the same number."""
    return str(value).lower() if isinstance(value, bool) else str(value)
