"""A hash of Python source that comments, layout and docstrings do not change; equal for all supported Pythons."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator

_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LAYOUT = {"kind", "type_comment", "type_ignores"}
"""Fields of syntax trees that do not change what the code does."""


def source_hash(source: str | bytes) -> str:
    """The SHA-256 of the source's syntax tree. Raises SyntaxError.

    Docstrings count where the source reads them, as `__doc__`.
    """
    return tree_hash(ast.parse(source), b"__doc__" in (source.encode() if isinstance(source, str) else source))


def tree_hash(tree: ast.Module, keep: bool) -> str:
    """As `source_hash`, of a tree. keep: whether docstrings count."""
    hashed = hashlib.sha256()
    for part in _parts(tree, keep):
        hashed.update(part.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def _parts(node: object, keep_docstrings: bool) -> Iterator[str]:
    """The tree as text: `ast.dump` would differ between versions of Python, which add fields that are empty."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if name in _LAYOUT or value is None or value == []:
                continue
            if name == "body" and not keep_docstrings and isinstance(node, _WITH_DOCSTRING):
                value = _without_docstring(value)
            yield f" {name}="
            yield from _parts(value, keep_docstrings)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _parts(item, keep_docstrings)
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!r};"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body
