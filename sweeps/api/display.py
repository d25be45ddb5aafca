"""HTML for notebooks. Every text is escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_LEFT = 'style="text-align: left; vertical-align: top"'


def block(title: str, *parts: str) -> str:
    """A title with parts below it, which are HTML already."""
    return f"<div><strong>{escape(title)}</strong>{''.join(parts)}</div>"


def text(*lines: str) -> str:
    """Paragraphs; empty ones are left out."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first cell of each row names it. Nothing if there are no rows."""
    body = "".join(f"<tr>{''.join(f'<td {_LEFT}>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    heads = "".join(f"<th {_LEFT}>{escape(one)}</th>" for one in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def image(data: bytes, form: str, description: str) -> str:
    """A picture. form: svg or png."""
    kind = "svg+xml" if form == "svg" else form
    encoded = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{escape(description)}" style="max-width: 100%">'


def changes(values: Mapping[str, Any]) -> str:
    """Changes of a configuration in one line."""
    return ", ".join(f"{key}: {one if isinstance(one, str) else json.dumps(one)}" for key, one in values.items())
