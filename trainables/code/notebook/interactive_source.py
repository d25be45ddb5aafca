"""Reads the source of a Python session: its cells or script, the names that a statement uses, and their bindings."""

from __future__ import annotations

import ast
import inspect
import symtable
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

_AT_ONCE = {"listcomp", "setcomp", "dictcomp", "genexpr"}
"""Symbol tables of type `function` that run where they stand."""
_OWN_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class InteractiveSource:
    """A cell, or the script."""

    text: str
    tree: ast.Module


def own_source(item: Any) -> Iterator[InteractiveSource]:
    """The cell or script that a class or function is in, if its code says so."""
    for function in functions_of(item)[:1]:
        try:
            yield from _parsed("".join(inspect.findsource(function)[0]))
        except (OSError, TypeError):
            return


def cells() -> Iterator[InteractiveSource]:
    """The cells that IPython has run, the newest first; of a script, its file."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        for text in reversed(shell.history_manager.input_hist_parsed):
            yield from _parsed(text)
    elif file := getattr(sys.modules["__main__"], "__file__", None):
        try:
            with open(file, encoding="utf-8") as opened:
                yield from _parsed(opened.read())
        except (OSError, UnicodeDecodeError):
            return


def _parsed(text: str) -> Iterator[InteractiveSource]:
    try:
        yield InteractiveSource(text, ast.parse(text))
    except (SyntaxError, ValueError):
        return


def functions_of(item: Any) -> list[FunctionType]:
    """The function itself without its decorators, or the functions that the body of a class defines."""
    if not inspect.isclass(item):
        return [inspect.unwrap(item)]
    members = [getattr(one, "__func__", getattr(one, "fget", one)) for one in vars(item).values()]
    functions = [inspect.unwrap(one) for one in members if callable(one)]
    functions = [one for one in functions if isinstance(one, FunctionType)]
    own = [one for one in functions if one.__qualname__.startswith(f"{item.__qualname__}.")]
    return [one for one in own if one.__code__.co_filename != "<string>"]  # that of methods of a dataclass


def used_names(text: str) -> tuple[list[str], list[str]]:
    """The names of the module that a statement uses when it is executed, and those that its functions use later."""
    at_once: set[str] = set()
    later: set[str] = set()

    def visit(table: symtable.SymbolTable, deferred: bool) -> None:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if (symbol.is_referenced() and (top or symbol.is_global())) or symbol.is_declared_global():
                (later if deferred else at_once).add(symbol.get_name())
        for child in table.get_children():
            inside = child.get_type() == "function" and child.get_name() not in _AT_ONCE
            visit(child, deferred or inside)

    visit(symtable.symtable(text, "<session>", "exec"), False)
    return sorted(at_once), sorted(later - at_once)


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run at the level of the module, also inside `if`, `try`, `with` and loops."""
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, _OWN_SCOPE):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def binding(source: InteractiveSource, name: str) -> tuple[str, ast.stmt] | None:
    """The last statement of a source that binds a name, with the text that does so; '' if that text is not simple."""
    found: tuple[str, ast.stmt] | None = None
    for node in statements(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = next((pair for one in node.names if (pair := _import(node, one, name))), found)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and _targets(node) == [name] and node.value is not None:
            found = (textwrap.dedent(ast.get_source_segment(source.text, node) or ""), node)
        elif not isinstance(node, _OWN_SCOPE) and name in stored(node):
            found = ("", node)
    return found


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(target) for target in targets]


def stored(node: ast.stmt) -> set[str]:
    """The names that a statement binds itself, without the statements inside it."""
    found: set[str] = set()
    waiting = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.add(one.id)
        waiting += [child for child in ast.iter_child_nodes(one) if not isinstance(child, ast.stmt)]
    return found


def _import(node: ast.Import | ast.ImportFrom, alias: ast.alias, name: str) -> tuple[str, ast.stmt] | None:
    """An import of one name, '' for a relative one; None if it binds another name."""
    if (alias.asname or alias.name) != name:
        return None
    named = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
    if isinstance(node, ast.Import):
        return f"import {named}", node
    return "" if node.level else f"from {node.module} import {named}", node


def attributes(tree: ast.Module, name: str) -> Iterator[list[str]]:
    """The chains of attributes of a name: `a.b.c` gives [b, c], and [b]."""
    for node in ast.walk(tree):
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if chain and isinstance(node, ast.Name) and node.id == name:
            yield chain


def literal(value: Any) -> str | None:
    """Plain data as source; None for other values."""
    if value is None or type(value) in (bool, int, str, bytes):
        return repr(value)
    if type(value) is float:
        return repr(value) if value == value and abs(value) != float("inf") else f"float({str(value)!r})"
    if type(value) is dict:
        pairs = [(literal(key), literal(item)) for key, item in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    if type(value) in (list, tuple, set, frozenset):
        items = [literal(item) for item in value]
        if None in items:
            return None
        inner = ", ".join(sorted(map(str, items)) if isinstance(value, (set, frozenset)) else map(str, items))
        if type(value) is tuple:
            return f"({inner},)" if items else "()"
        return f"[{inner}]" if type(value) is list else f"{type(value).__name__}([{inner}])"
    return None
