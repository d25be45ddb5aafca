"""What a source mentions: the modules that it imports, and the files that it reads. Nothing is executed."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_LISTS = {"iterdir": "*", "listdir": "*", "scandir": "*", "walk": "**/*"}
"""Functions that list a folder, and the pattern of the files that are meant."""
_JOINS = ("Path", "PurePath", "join", "joinpath", "with_name", "glob", "rglob", "iglob", "files")
_DYNAMIC = ("import_module", "__import__", "iter_modules", "walk_packages")

# --- modules ----------------------------------------------------------------------------------------------------------


def guarded(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of a source that may import what is not installed: those in `try:`, and those for type checkers."""
    for node in ast.walk(tree):
        tried = isinstance(node, ast.Try) and any(map(_catches_import_errors, node.handlers))
        if tried or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from (inner for statement in node.body for inner in ast.walk(statement))  # type: ignore[attr-defined]


def _catches_import_errors(handler: ast.ExceptHandler) -> bool:
    caught = "Exception" if handler.type is None else ast.unparse(handler.type)
    return any(name in caught for name in ("ImportError", "ModuleNotFoundError", "Exception"))


def imports(tree: ast.Module, package: str) -> Iterator[tuple[str, bool, ast.stmt | ast.expr]]:
    """Dotted names that a source imports, whether their last part may be no module, and the node.

    package: the package of the module, '' for a module of none.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            if base:
                yield base, False, node
            dotted = f"{base}." if base else ""
            yield from ((f"{dotted}{alias.name}", True, node) for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            name = path_text(node.args[0])
            anchor = path_text(node.args[1]) if len(node.args) > 1 else ""
            if name and "*" not in name:
                yield _absolute(name, anchor or package), False, node


def possible_imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a source may import by names that are only known when it runs; `a.*` for the modules of `a`.

    That is every text of a source that imports by a variable, and the names in `__all__`, which `import *` imports.
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) in _DYNAMIC]
    for node in calls:
        name = path_text(node.args[0]) if node.args else ""
        if _called(node) in ("iter_modules", "walk_packages") and package:
            yield f"{package}.*"
        elif name.endswith("*") and name.strip("*."):
            yield _absolute(f"{name.rstrip('*').rstrip('.')}.*", package)
        elif package and name.startswith((".", "*")):
            yield f"{package}.*"
    variable = any(not node.args or not path_text(node.args[0]) for node in calls)
    for part in ast.walk(tree):
        exported = isinstance(part, ast.Assign) and any(getattr(one, "id", "") == "__all__" for one in part.targets)
        if exported or (variable and isinstance(part, ast.Module)):
            for text in _texts(part):
                if all(part.isidentifier() for part in text.lstrip(".").split(".")):
                    yield _absolute(text, package) if text.startswith(".") else text
                    yield f"{package}.{text}" if package else text


def _absolute(name: str, package: str) -> str:
    """A dotted name that may begin with dots, as seen from a package."""
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if not level:
        return name
    above = package.split(".") if package else []
    return ".".join([*above[: max(0, len(above) - level + 1)], *filter(None, [rest])])


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _texts(tree: ast.AST) -> Iterator[str]:
    """The constants of a source that are texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# --- files ------------------------------------------------------------------------------------------------------------


def named_files(tree: ast.Module, folders: Sequence[Path]) -> Iterator[Path]:
    """Existing files that a source names, relative to one of the folders.

    A file is named by a constant. What is added to the place of the source (`__file__`) may also be a folder, or a
    pattern, such as `f"{name}.json"`: then all files that are meant belong to the code.
    """
    anchors = _anchors(tree)
    for node in ast.walk(tree):
        text = path_text(node).lstrip("/")
        if text and len(text) < 256 and "\0" not in text:
            anchored = _names(node) & anchors
            for folder in folders:
                yield from _several(folder, text) if anchored else _one(folder, text)


def _one(folder: Path, text: str) -> Iterator[Path]:
    path = Path(os.path.normpath(folder / text))
    if path.is_file() and path.suffix != ".pyc":
        yield path


def _several(folder: Path, text: str) -> Iterator[Path]:
    """The files that a text names: a file, all files of a folder, or those that match a pattern."""
    if "*" not in text and not (folder / text).is_dir():
        yield from _one(folder, text)
    elif ".." not in text and text.strip("./"):
        for path in sorted(folder.glob(text if "*" in text else f"{text}/**/*")):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden:
                yield path


def _anchors(tree: ast.Module) -> set[str]:
    """`__file__`, and the variables and attributes whose values are made of it."""
    names = {"__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and _names(node.value) & names:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names |= {getattr(target, "id", ""), getattr(target, "attr", "")} - {""}
    return names


def _names(tree: ast.AST) -> set[str]:
    """The variables and attributes in an expression."""
    return {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}


def path_text(node: ast.AST) -> str:
    """The text of an expression for a path or a module, as far as it is constant; `*` for what a format inserts.

    Of "a", X / "a" / "b", X + "/a", f"{x}.json", Path("a", "b"), join(X, "a"), X.glob("*.json") or listdir(X).
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return "/".join(filter(None, (path_text(node.left), path_text(node.right))))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return path_text(node.left) + path_text(node.right)
    if isinstance(node, ast.JoinedStr):
        parts = [path_text(one) or "*" for one in node.values]
        return "".join(parts[1:] if parts[0] == "*" and parts[1:2] and parts[1].startswith("/") else parts)
    if isinstance(node, ast.Call) and _called(node) in _JOINS:
        return "/".join(filter(None, map(path_text, node.args)))
    if isinstance(node, ast.Call) and _called(node) in _LISTS:  # of a folder that no text names: that of the source
        listed = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        return _LISTS[_called(node)] if not any(map(path_text, listed)) else ""
    return ""
