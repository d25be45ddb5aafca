"""The files that a user's code consists of: a module, and everything of theirs that it imports, however deep.

Imports are read from the syntax tree, also those inside functions; nothing is executed. What lies in an environment's
`site-packages`, in the standard library or in this package is not followed. A file that is named in the source by a
constant, such as `open("palette.json")` or `Path(__file__).parent / "data" / "palette.json"`, belongs to the code too.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from trainables.errors import TrialError

OURS = ("analysis", "cluster", "sweeps", "trainables")
_PROJECT = Path(__file__).resolve().parents[2]
"""The folder that our packages are in: that of the installed packages, or a checkout."""


@dataclass
class Closure:
    """Files of a user's code, by their path below the folder that they are imported from."""

    files: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Imported modules that were not found, each with the place of the import, `file:line`."""
    packages: set[str] = field(default_factory=set)
    """Top-level names of installed packages that are imported."""


def closure(file: Path) -> Closure:
    """The files of the code that starts with a file. Raises SyntaxError for a file that does not parse.

    Imports are looked up beside the file, then in the folders of `sys.path` that hold no installed packages. The
    file's own package is followed even where it is installed.
    """
    root, module = module_name(file)
    walk = _ImportWalk(root, module.partition(".")[0], [*([] if is_installed_path(root) else [root]), *_own_folders()])
    walk.add(file)
    return walk.closure


def module_name(file: Path) -> tuple[Path, str]:
    """The folder that a file is imported from, and the dotted name of its module: packages have an `__init__.py`."""
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    return root, ".".join(parts[:-1] if file.name == "__init__.py" else parts)


def _own_folders() -> list[Path]:
    """Folders of `sys.path` with code that is neither installed nor part of Python."""
    return [
        path for entry in sys.path if (path := Path(entry or ".").resolve()).is_dir() and not is_installed_path(path)
    ]


def is_installed_path(path: Path) -> bool:
    """Whether a file or folder is part of an installed package or of Python."""
    standard = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    inside = any(path == folder or path.is_relative_to(folder) for folder in standard)
    return inside or any(part in ("site-packages", "dist-packages") for part in path.parts)


class _ImportWalk:
    def __init__(self, root: Path, own: str, folders: Sequence[Path]) -> None:
        """root: the folder with the package or module `own`. folders: where other code of the user's is."""
        self.root, self.own = str(root), own
        self.folders = [str(folder) for folder in folders]
        self.closure = Closure()
        self.seen: set[Path] = set()

    def add(self, file: Path) -> None:
        """Add a file, the `__init__.py` of its packages, and what it imports."""
        root, module = module_name(file)
        if not self._is_new(root, file):
            return
        for parent in file.parents[: module.count(".") + (file.name == "__init__.py")]:
            if (parent / "__init__.py").exists():
                self.add(parent / "__init__.py")
        if file.suffix != ".py":
            return
        tree = ast.parse(file.read_bytes(), file.name)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        guarded = set(map(id, _guarded(tree)))
        for name, optional, node in imports(tree, package):
            self._import(name, optional, None if id(node) in guarded else f"{file.name}:{node.lineno}")
        for named in named_files(tree, file.parent):
            if named.is_relative_to(root):
                self._is_new(root, named)

    def _is_new(self, root: Path, file: Path) -> bool:
        """Add one file. Raises TrialError if another file of its name is part of the code."""
        name = file.relative_to(root).as_posix()
        known = self.closure.files.setdefault(name, file)
        if known != file:
            raise TrialError(
                f"{name}",
                f"two files of this name are part of the code: {known} and {file}",
                "files that are imported by different names",
                "rename one of them",
            )
        new = file not in self.seen
        self.seen.add(file)
        return new

    def _import(self, module: str, optional: bool, place: str | None) -> None:
        """Follow an import of a dotted name.

        optional: its last part may be something else than a module. place: of the import; None if it may fail.
        """
        parts = module.split(".")
        top = self._top(parts[0])
        if top is None:
            if place and parts[0] not in (*sys.stdlib_module_names, *OURS):
                self._note(parts[0], place)
            return
        spec: ModuleSpec | None = top
        for count in range(len(parts)):
            if count:
                folders = spec.submodule_search_locations if spec else None
                spec = PathFinder.find_spec(".".join(parts[: count + 1]), list(folders)) if folders else None
            if spec is None:
                if place and not (optional and count == len(parts) - 1):
                    self.closure.missing.setdefault(module, place)
                return
            if spec.origin and Path(spec.origin).is_file():
                self.add(Path(spec.origin))

    def _top(self, name: str) -> ModuleSpec | None:
        """Where a top-level name is found, if it is code of the user's."""
        if name in OURS:  # never part of the code; a file of its name beside the code is, and `pack` refuses it
            spec = PathFinder.find_spec(name, [self.root])
            return None if spec and spec.origin and Path(spec.origin).resolve().is_relative_to(_PROJECT) else spec
        spec = PathFinder.find_spec(name, [self.root] if name == self.own else self.folders)
        if spec is None and name not in sys.stdlib_module_names:
            spec = _findable(name)
            if is_installed(name):
                self.closure.packages.add(name)
                return None
        return spec

    def _note(self, name: str, place: str) -> None:
        if name not in self.closure.packages:
            self.closure.missing.setdefault(name, place)


def is_installed(name: str) -> bool:
    """Whether a top-level name belongs to an installed package."""
    spec = _findable(name)
    return spec is not None and spec.origin is not None and is_installed_path(Path(spec.origin).resolve())


def _findable(name: str) -> ModuleSpec | None:
    """As the running Python would import a top-level name, for example through the finder of an editable install."""
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def _guarded(tree: ast.Module) -> Iterator[ast.AST]:
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
            above = package.split(".") if node.level else []
            base = [*above[: len(above) - node.level + 1], *([node.module] if node.module else [])]
            if base:
                yield ".".join(base), False, node
            yield from ((".".join([*base, alias.name]), True, node) for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            named = node.args[0]
            if isinstance(named, ast.Constant) and isinstance(named.value, str) and not named.value.startswith("."):
                yield named.value, False, node


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def named_files(tree: ast.Module, folder: Path) -> Iterator[Path]:
    """Existing files that constants of a source name, relative to its folder."""
    for node in ast.walk(tree):
        text = _path_text(node)
        if text and len(text) < 256 and "\0" not in text and not Path(text).is_absolute():
            file = folder / text
            if file.is_file() and file.suffix != ".pyc":
                yield file.resolve()


def _path_text(node: ast.AST) -> str:
    """The constant end of an expression for a path: of "a", X / "a" / "b", Path("a", "b") or join(X, "a")."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return "/".join(filter(None, (_path_text(node.left), _path_text(node.right))))
    if isinstance(node, ast.Call) and _called(node) in ("Path", "join", "joinpath"):
        return "/".join(filter(None, map(_path_text, node.args)))
    return ""
