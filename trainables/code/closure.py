"""The files that a user's code consists of: a module, and everything of theirs that it imports, however deep.

Imports are read from the syntax tree, also those inside functions; nothing is executed. What lies in an environment's
`site-packages`, in the standard library or in this package is not followed. A file that is named in the source, such as
`open("palette.json")` or `Path(__file__).parent / "data" / "palette.json"`, belongs to the code too.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from trainables.code.cache import MOST_BYTES, path_in_code
from trainables.code.mentions import guarded, imports, named_files, possible_imports
from trainables.code.syntax import parse
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
    invalidate_caches()  # files that were written a moment ago are found
    root, module = module_name(file)
    walk = _ImportWalk(root, module.partition(".")[0], [*([] if is_installed_path(root) else [root]), *_own_folders()])
    walk.add(file, module)
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
    folders = (Path(entry or ".").resolve() for entry in sys.path)
    return [one for one in folders if one.is_dir() and not is_installed_path(one) and path_in_code(one) is None]


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
        self.bytes = 0

    def add(self, file: Path, module: str, optional: bool = False) -> None:
        """Add the file of a module, the `__init__.py` of its packages, and what it imports.

        optional: whether its imports may be missing
        """
        depth = module.count(".") + (file.name == "__init__.py")
        root = file.parents[depth]
        if not self._is_new(root, file):
            return
        for count in range(1, depth + 1):
            parent = root.joinpath(*module.split(".")[:count], "__init__.py")
            if parent.exists():
                self.add(parent, ".".join(module.split(".")[:count]))
        self.bytes += file.stat().st_size
        if file.suffix != ".py" or self.bytes > MOST_BYTES:  # which `pack` refuses; it would take long to parse
            return
        tree = parse(file.read_bytes(), file.name)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        may_fail = set(map(id, ast.walk(tree) if optional else guarded(tree)))
        for name, uncertain, node in imports(tree, package):
            self._import(name, uncertain, None if id(node) in may_fail else f"{file.name}:{node.lineno}")
        for name in possible_imports(tree, package):
            self._import_possible(name)
        for named in named_files(tree, file.parents[: depth + 1]):
            if named.is_relative_to(root) and named.suffix == ".py":
                self.add(named, ".".join(named.relative_to(root).with_suffix("").parts), optional=True)
            elif named.is_relative_to(root):
                self._is_new(root, named)

    def _import_possible(self, name: str) -> None:
        """Follow an import that may not happen. name: of a module, or `package.*` for all its modules."""
        spec = self._import(name.removesuffix(".*"), True, None)
        for folder in spec.submodule_search_locations or () if spec and name.endswith(".*") else ():
            for file in sorted(Path(folder).glob("*.py")):
                self._import(f"{name[:-1]}{file.stem}", True, None)

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

    def _import(self, module: str, optional: bool, place: str | None) -> ModuleSpec | None:
        """Follow an import of a dotted name; returns where it is, None if it was not found or is not the user's.

        optional: its last part may be something else than a module. place: of the import; None if it may fail.
        """
        parts = module.split(".")
        top = self._top(parts[0])
        if top is None:
            if place and parts[0] not in (*sys.stdlib_module_names, *OURS):
                self._note(parts[0], place)
            return None
        spec: ModuleSpec | None = top
        for count in range(len(parts)):
            if count:
                folders = spec.submodule_search_locations if spec else None
                spec = PathFinder.find_spec(".".join(parts[: count + 1]), list(folders)) if folders else None
            if spec is None:
                if place and not (optional and count == len(parts) - 1):
                    self.closure.missing.setdefault(module, place)
                return None
            if spec.origin and Path(spec.origin).is_file():
                self.add(Path(spec.origin), ".".join(parts[: count + 1]))
        return spec

    def _top(self, name: str) -> ModuleSpec | None:
        """Where a top-level name is found, if it is code of the user's."""
        if name in OURS:  # never part of the code; a file of its name beside the code is, and `pack` refuses it
            spec = PathFinder.find_spec(name, [self.root])
            return None if spec and spec.origin and Path(spec.origin).resolve().is_relative_to(_PROJECT) else spec
        spec = PathFinder.find_spec(name, [self.root] if name == self.own else self.folders)
        if spec is None and name not in sys.stdlib_module_names:
            spec = findable(name)
            if is_installed(name):
                self.closure.packages.add(name)
                return None
        return spec

    def _note(self, name: str, place: str) -> None:
        if name not in self.closure.packages:
            self.closure.missing.setdefault(name, place)


def is_installed(name: str) -> bool:
    """Whether a top-level name belongs to an installed package."""
    spec = findable(name)
    return spec is not None and spec.origin is not None and is_installed_path(Path(spec.origin).resolve())


def findable(name: str) -> ModuleSpec | None:
    """As a new Python would import a top-level name, for example through the finder of an editable install."""
    for finder in sys.meta_path:
        if finder is PathFinder:
            spec = PathFinder.find_spec(name, [one for one in sys.path if path_in_code(Path(one)) is None])
        else:
            spec = finder.find_spec(name, None)
        if spec is not None:
            return spec
    return None
