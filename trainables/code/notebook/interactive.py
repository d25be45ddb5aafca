"""Code that a Python session defines: a cell of a notebook, or the script that runs.

A worker cannot import such code, because `__main__` is another module there, and importing the script would run it
again. So the source of a class or function is collected into a file of its own, with everything that it uses: imports,
other definitions of the session, and names at module level. Names are found by symbol tables and syntax trees. A name
with plain data (numbers, text, lists, ...) gets its present value; any other is assigned by the statement of the
session that last assigned it.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from trainables.code.notebook.interactive_source import (
    Definition,
    attributes,
    binding,
    cells,
    first_line,
    functions_of,
    literal,
    own_source,
    statements,
    stored,
    used_names,
)
from trainables.errors import TrialError

_OF_MODULE = ("__name__", "__doc__", "__file__")
"""Names that every module has."""


def is_interactive(item: Any) -> bool:
    """Whether a class or function is defined by the session, and not by a module that is imported from a file."""
    module = sys.modules.get(item.__module__)
    has_file = getattr(module, "__file__", None) is not None or item.__module__ in sys.stdlib_module_names
    return item.__module__ == "__main__" or not has_file


def collect(item: Any) -> str:
    """The source of a module that defines a class or function of the session.

    Raises TrialError for a lambda, a definition inside a function, one whose source is not known, and for a name that
    cannot be collected.
    """
    collector = _Collector(item)
    collector.add_definition(item)
    flags = ["from __future__ import annotations"] if collector.lazy_annotations else []
    head = f'"""{item.__name__}, as a Python session defined it."""'
    blocks = ["\n".join([*flags, *sorted(collector.imports)]), *collector.parts]
    return "\n\n".join([head, *filter(None, blocks)]) + "\n"


class _Collector:
    def __init__(self, item: Any) -> None:
        self.given = item.__name__
        self.module = item.__module__
        self.names = _namespace(item)
        self.imports: set[str] = set()
        """Import statements."""
        self.parts: list[str] = []
        """Definitions and assignments, in an order in which they can be executed."""
        self.lazy_annotations = False
        self._defined: dict[str, Any] = {}
        self._seen: set[str] = set()
        self._sources = [*cells(), *own_source(item)]

    def error(self, why: str, allowed: str, fix: str) -> TrialError:
        return TrialError(self.given, why, allowed, fix)

    def add_definition(self, item: Any) -> None:
        """Add a class or function of the session: first what it needs to be defined, afterwards what it calls."""
        name = item.__name__
        if name in self._defined:
            if self._defined[name] is not item:
                raise self.error(
                    f"it uses two definitions of {name}: an old one, and one that replaced it",
                    "one definition of each name",
                    "run the cells that use it again",
                )
            return
        self._defined[name] = item
        self._seen.add(name)
        node, text = self._definition(item)
        self._check_unchanged(item, node)
        flags = [function.__code__.co_flags for function in functions_of(item)]
        self.lazy_annotations |= any(flag & __future__.annotations.compiler_flag for flag in flags)
        self._add(text)

    def _add(self, text: str) -> None:
        """Add a statement that binds a name, with what it uses."""
        at_once, later = used_names(text)
        tree = ast.parse(text)
        for one in at_once:
            self._add_name(one, tree)
        self.parts.append(text)
        for one in later:
            self._add_name(one, tree)

    def _add_name(self, name: str, user: ast.Module) -> None:
        """Add what a name means. user: the statement that uses it."""
        value = self.names.get(name)
        if isinstance(value, ModuleType):
            self._import_module(name, value, user)
        if name in self._seen or name in _OF_MODULE:
            return
        self._seen.add(name)
        if name not in self.names:
            if not _is_python_builtin(name):
                raise self.error(
                    f"it uses {name}, which the session does not define",
                    "names that are defined, imported or built into Python",
                    f"define or import {name}",
                )
        elif isinstance(value, ModuleType):
            return
        elif is_definition(value) and getattr(value, "__module__", "") == self.module:
            own: str = getattr(value, "__name__", name)
            self.add_definition(value)
            self.parts += [f"{name} = {own}"] if own != name else []
        elif (text := literal(value)) is not None:
            self.parts.append(f"{name} = {text}")
        else:
            self._add_statement(name, value)

    def _import_module(self, name: str, module: ModuleType, user: ast.Module) -> None:
        """Import a module, and the submodules of it that are named with it, as `torch.nn` in `torch.nn.Linear`."""
        own = module.__name__
        if own == self.module:
            raise self.error(f"it uses {name}, which is the session itself", "modules", "use its names directly")
        self.imports.add(f"import {own}" if own == name else f"import {own} as {name}")
        for chain in attributes(user, name):
            inner: Any = module
            for attribute in chain:
                above, inner = inner, getattr(inner, attribute, None)
                if not isinstance(inner, ModuleType) or inner.__name__ != f"{above.__name__}.{attribute}":
                    break
                self.imports.add(f"import {inner.__name__}")

    def _add_statement(self, name: str, value: Any) -> None:
        """Add the statement of the session that last bound a name: an import or an assignment."""
        found = next((pair for source in self._sources if (pair := binding(source, name))), None)
        text, node = found or ("", None)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and text:
            self.imports.add(text)
        elif text:
            if name in used_names(text)[0]:
                raise self._cannot(name, value, "its last assignment uses its earlier value")
            self._add(text)
        elif node is None or isinstance(node, ast.ImportFrom):
            self.imports.add(self._import_of(name, value))
        else:
            raise self._cannot(name, value, f"line {node.lineno} of its cell or script does not simply assign it")

    def _import_of(self, name: str, value: Any) -> str:
        """An import of a value by the module and name that it says it has."""
        module, path = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", ""))
        there = module != self.module and path.isidentifier()
        if there and getattr(sys.modules.get(module), path, None) is value:
            return f"from {module} import {path}" + (f" as {name}" if path != name else "")
        raise self._cannot(name, value, "no statement that assigns it was found")

    def _cannot(self, name: str, value: Any, why: str) -> TrialError:
        return self.error(
            f"it uses {name}, a value of type {type(value).__name__} that cannot be collected: {why}",
            "imports, classes and functions, plain data (numbers, text, lists, ...), and names with one assignment",
            f"make {name} inside {self.given}, pass it as an option, or move the code to a file",
        )

    def _definition(self, item: Any) -> tuple[Definition, str]:
        """The definition of a class or function, and its text."""
        check_has_name(item)
        code = [function.__code__.co_firstlineno for function in functions_of(item)[:1]]
        kinds = (ast.ClassDef,) if inspect.isclass(item) else (ast.FunctionDef, ast.AsyncFunctionDef)
        for source in own_source(item) if code else self._sources:
            nodes = [one for one in statements(source.tree) if isinstance(one, kinds) and one.name == item.__name__]
            for node in reversed(nodes):
                if all(first_line(node) <= line <= (node.end_lineno or 0) for line in code):
                    lines = source.text.splitlines()[first_line(node) - 1 : node.end_lineno]
                    return node, textwrap.dedent("\n".join(lines))
        raise self.error(
            "its source is not known" if item.__name__ == self.given else f"the source of {item.__name__} is not known",
            "code of a notebook cell, of a script or of a module",
            "write it to a file: ./FILE.py:NAME",
        )

    def _check_unchanged(self, item: Any, node: Definition) -> None:
        """Refuse a class that is not what its definition says: a base that was replaced, a method set later."""
        if not inspect.isclass(item) or not isinstance(node, ast.ClassDef):
            return
        for base in node.bases:
            if isinstance(base, ast.Name) and is_definition(now := self.names.get(base.id)) and now not in item.__mro__:
                raise self.error(
                    f"{base.id} was defined again after {item.__name__}, which inherits from it",
                    "a class that inherits from the present definition",
                    f"run the cell of {item.__name__} again",
                )
        assigned = set().union(*map(stored, node.body))
        for name, value in vars(item).items():
            ours = isinstance(value, FunctionType) and value.__module__ == item.__module__ and name not in assigned
            if ours and not value.__qualname__.startswith(f"{item.__qualname__}."):
                raise self.error(
                    f"{item.__name__}.{name} was set outside the definition of the class",
                    "methods that the class defines",
                    f"define {name} in the class",
                )


# --- definitions ------------------------------------------------------------------------------------------------------


def is_definition(value: Any) -> bool:
    """Whether a value is a class, or a function with a name at module level, perhaps decorated."""
    if inspect.isclass(value):
        return "." not in value.__qualname__
    if not callable(value) or not isinstance(getattr(value, "__module__", None), str):
        return False
    function = inspect.unwrap(value)
    return isinstance(function, FunctionType) and function.__qualname__.isidentifier()


def check_has_name(item: Any) -> None:
    if "<lambda>" in item.__qualname__:
        raise TrialError("a lambda", "it has no name by which a worker finds it", "a function", "def NAME(...): ...")
    if not is_definition(item):
        raise TrialError(
            item.__qualname__.replace("<locals>.", ""),
            "it is defined inside a function or a class, whose variables a worker does not have",
            "a class or function at the level of the module or cell",
            "move the definition out",
        )


def _namespace(item: Any) -> Mapping[str, Any]:
    return next((one.__globals__ for one in functions_of(item)), None) or vars(sys.modules[item.__module__])


def _is_python_builtin(name: str) -> bool:
    """Whether Python itself has a name; IPython adds some, such as `display`, that a worker lacks."""
    value = getattr(builtins, name, None)
    added = getattr(value, "__module__", None) or ""
    return hasattr(builtins, name) and not added.startswith("IPython") and name not in ("get_ipython", "exit", "quit")
