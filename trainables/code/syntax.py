"""A hash of Python source that comments, layout and docstrings do not change; equal for all supported Pythons."""

from __future__ import annotations

import ast
import hashlib

_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LAYOUT = {"kind", "type_comment", "type_ignores"}
"""Fields of syntax trees that do not change what the code does."""


def source_hash(source: str | bytes, keep_docstrings: bool | None = None, name: str = "<unknown>") -> str:
    """The SHA-256 of the source's syntax tree. Raises SyntaxError.

    keep_docstrings: whether docstrings count; None: if the source reads them. name: for the error
    """
    return tree_hash(parse(source, name), reads_docstrings(source) if keep_docstrings is None else keep_docstrings)


def parse(source: str | bytes, name: str) -> ast.Module:
    """The syntax tree of a source. Raises SyntaxError with name and line, which Python leaves out for a null byte."""
    try:
        return ast.parse(source, name)
    except SyntaxError as error:
        content = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
        error.filename = error.filename or name
        error.lineno = error.lineno or content.partition(b"\0")[0].count(b"\n") + 1
        raise


def reads_docstrings(source: str | bytes) -> bool:
    """Whether a source reads docstrings, of itself or of other files."""
    content = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    return b"__doc__" in content or b"getdoc" in content


def tree_hash(tree: ast.Module, keep_docstrings: bool) -> str:
    """As `source_hash`, of a tree."""
    parts: list[str] = []
    _add_parts(tree, keep_docstrings, parts)
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _add_parts(node: object, keep_docstrings: bool, parts: list[str]) -> None:
    """Append the tree as text: `ast.dump` would differ between versions of Python, which add fields that are empty."""
    if isinstance(node, ast.AST):
        parts.append(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                docstring = keep_docstrings and name == "body" and isinstance(node, _WITH_DOCSTRING)
                value = [one for place, one in enumerate(value) if not _is_idle(one) or (docstring and place == 0)]
            if name in _LAYOUT or value is None or value == []:
                continue
            parts.append(f" {name}=")
            _add_parts(value, keep_docstrings, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _add_parts(item, keep_docstrings, parts)
        parts.append("]")
    else:
        parts.append(f"{type(node).__name__}:{node!r};")


def _is_idle(node: object) -> bool:
    """Whether this is a statement that does nothing: a text, such as a docstring, another constant, or `pass`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
