"""The import rule: which folder may use which, no circle of files, and no class name twice. Read from the source.

What a start-up really loads is tried as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS: dict[str, set[str]] = {
    "sweeps": set(),
    "trainables": set(),
    "cluster": {"sweeps", "trainables"},
    "analysis": {"sweeps"},
}
"""folder -> the other folders of ours that it may import."""
FRONT_DOOR = ("sweeps/api/", "sweeps/cli/")
"""The Python interface and the command may import our other folders inside functions, and for type annotations."""
THEIRS: dict[str, tuple[str, ...]] = {
    "ray": ("cluster/",),
    "torch": ("trainables/", "cluster/"),
    "torchvision": ("trainables/", "cluster/"),
    "torchmetrics": ("trainables/", "cluster/"),
    "optuna": (
        "sweeps/search/history.py",
        "sweeps/search/samplers.py",
        "sweeps/search/joint_tpe.py",
        "analysis/dashboard/widgets/optimisation.py",
        "analysis/dashboard/processes/optuna_server.py",
        "cluster/",
    ),
    "streamlit": ("analysis/dashboard/",),
    "plotly": ("analysis/dashboard/",),
    "boto3": ("sweeps/",),
    "botocore": ("sweeps/",),
}
"""package -> the only files and folders that may import it."""


@dataclass(frozen=True)
class Import:
    """One import: the top-level package, its line, and whether it does not run when the module is imported."""

    package: str
    line: int
    deferred: bool


def imports(source: str, package: str) -> list[Import]:
    """All imports of a module, relative and `import_module("...")` ones included. package: its own top level."""
    found: list[Import] = []

    def visit(node: ast.AST, deferred: bool) -> None:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [package if node.level else str(node.module)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            names = _leading_text(first)
        else:
            names = []
        found.extend(Import(name.partition(".")[0], getattr(node, "lineno", 0), deferred) for name in names)
        inside = deferred or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        types_only = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else []
        for child in ast.iter_child_nodes(node):
            visit(child, inside or child in types_only)

    visit(ast.parse(source), False)
    return found


def _leading_text(node: ast.expr | None) -> list[str]:
    """The text that a literal or an f-string begins with; nothing where it is computed."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0] if isinstance(node.values[0], ast.Constant) else None
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def violations(path: str, source: str) -> list[str]:
    """What a file imports against the rule, one line each. path: relative to the checkout, with slashes."""
    own = path.partition("/")[0]
    bad = []
    for item in imports(source, own):
        if item.package in OURS and item.package != own:
            allowed = item.package in OURS[own] or (path.startswith(FRONT_DOOR) and item.deferred)
        else:
            allowed = path.startswith(THEIRS.get(item.package, ("",)))
        if not allowed:
            bad.append(f"{path}:{item.line} imports {item.package}")
    return bad


def files() -> list[str]:
    return sorted(p.relative_to(ROOT).as_posix() for folder in OURS for p in (ROOT / folder).rglob("*.py"))


# --- names ------------------------------------------------------------------------------------------------------------

CONTRACT_CLASSES = {"Config"}
"""Class names that each method defines by contract: `Config` in its `config.py`."""


def defined_classes(source: str) -> list[str]:
    """The names of all classes in a module, nested ones included."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def test_a_class_name_exists_once() -> None:
    """Networks are not exempt: an error or a traceback that names a class must lead to one file."""
    homes: dict[str, list[str]] = {}
    for path in files():
        for name in defined_classes((ROOT / path).read_text(encoding="utf-8")):
            homes.setdefault(name, []).append(path)
    repeated = {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in CONTRACT_CLASSES}
    assert not repeated


# --- circles ----------------------------------------------------------------------------------------------------------

MOST_FILES = 13
"""Python files of one folder at most, its `__init__.py` aside."""


def imported(source: str, module: str, modules: frozenset[str]) -> set[str]:
    """Which of `modules` a module imports anywhere: at its top, in functions, for types alone, by `import_module`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module":
            names = _leading_text(node.args[0] if node.args else None)
        else:
            names = []
        found.update(name for name in names if name in modules and name != module)
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next and the last one the first; empty where there is no circle."""
    done: set[str] = set()
    path: dict[str, Iterator[str]] = {}
    for start in sorted(graph):
        if start not in done:
            path[start] = iter(sorted(graph[start]))
        while path:
            module = next(reversed(path))
            following = next((name for name in path[module] if name not in done), None)
            if following is None:
                done.add(module)
                del path[module]
            elif following in path:
                names = list(path)
                return names[names.index(following) :]
            else:
                path[following] = iter(sorted(graph[following]))
    return []


def test_no_circle_of_files() -> None:
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files()}
    graph = {
        module: imported((ROOT / path).read_text(encoding="utf-8"), module, frozenset(paths))
        for module, path in paths.items()
    }
    found = circle(graph)
    assert not found, "these files import each other: " + " -> ".join([*found, found[0]])


@pytest.mark.parametrize(
    "source",
    [
        "import a.b",
        "from a import b",
        "from a.b import c",
        "from . import b",
        "from .b import c",
        "def f():\n    from a import b",
        "if TYPE_CHECKING:\n    from a.b import C",
        "import importlib\nimportlib.import_module('a.b')",
    ],
)
def test_every_kind_of_import_is_seen(source: str) -> None:
    assert imported(source, "a.x", frozenset({"a", "a.b", "a.x"})) == {"a.b"}


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"e"}, "e": {"b"}}) == ["b", "d", "e"]
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_yaml_is_read_in_one_place() -> None:
    """Elsewhere nothing would bound nesting, aliases and numbers of a file that a user or a store gives."""
    readers = {path for path in files() if "yaml" in imported((ROOT / path).read_text(), path, frozenset({"yaml"}))}
    assert readers == {"sweeps/spec/yaml_document.py"}


def test_no_folder_is_crowded() -> None:
    """Methods have a folder each, so that no folder of files grows with their number."""
    folders = [path.rpartition("/")[0] for path in files() if not path.endswith("/__init__.py")]
    crowded = {one: folders.count(one) for one in folders if folders.count(one) > MOST_FILES}
    assert not crowded


# --- the import rule --------------------------------------------------------------------------------------------------


def test_every_file_keeps_the_import_rule() -> None:
    bad = [line for path in files() for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not bad, "against the import rule of CONTRIBUTING.md:\n" + "\n".join(bad)


def test_the_rule_is_checked_on_every_folder() -> None:
    assert {path.partition("/")[0] for path in files()} == set(OURS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainables/training/loop.py", "from sweeps.results.columns import EPOCH"),
        ("trainables/training/loop.py", "import ray.train"),
        ("trainables/inpaint/methods/x/network.py", "def f():\n    import optuna"),
        ("sweeps/spec/plan.py", "def f():\n    from trainables import schema"),
        ("sweeps/spec/plan.py", "import torch"),
        ("sweeps/cli/main.py", "import trainables.schema"),
        ("sweeps/cli/running.py", "if True:\n    import cluster"),
        ("sweeps/cli/running.py", "def f():\n    import torch"),
        ("sweeps/cli/running.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import cluster"),
        ("sweeps/spec/plan.py", "if TYPE_CHECKING:\n    import cluster"),
        ("sweeps/spec/plan.py", "import optuna"),
        ("sweeps/search/search.py", "import optuna"),
        ("sweeps/spec/plan.py", "import importlib\nimportlib.import_module('trainables.schema')"),
        ("sweeps/spec/plan.py", "import importlib\nimportlib.import_module(f'trainables.models.{name}')"),
        ("analysis/study.py", "from trainables.training.session import Row"),
        ("analysis/report/build.py", "import torch.utils"),
        ("analysis/study.py", "import boto3"),
        ("cluster/runners/ray_tune.py", "from analysis import study as frame"),
        ("cluster/runners/ray_tune.py", "import boto3"),
        ("analysis/report/build.py", "import plotly.graph_objects"),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("sweeps/cli/running.py", "def run():\n    from cluster.runners import ray_tune as tuner"),
        ("sweeps/api/running.py", "if TYPE_CHECKING:\n    from cluster.driver.pending_work import PendingWork"),
        ("sweeps/search/samplers.py", "import optuna"),
        ("sweeps/store/local.py", "def client():\n    import boto3"),
        ("sweeps/spec/plan.py", "from .trial import Trial\nimport numpy"),
        (
            "cluster/worker/worker.py",
            "import ray\nimport torch\nfrom trainables import loop\nfrom sweeps import ledger",
        ),
        ("analysis/study.py", "from sweeps.store.layout import finished\nimport pandas"),
        ("trainables/training/loop.py", "import torch\nfrom trainables.training.session import Session"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    assert violations(path, source) == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("sweeps", "torch ray optuna matplotlib pandas pydantic rich"),
        ("sweeps.api", "torch ray optuna matplotlib pandas pydantic rich"),
        ("sweeps.cli", "torch ray optuna matplotlib pandas"),
        ("trainables.schema", "torch ray optuna matplotlib"),
        ("analysis.report.build", "torch ray streamlit"),
        ("analysis.dashboard.app", "torch ray optuna boto3"),
    ],
)
def test_start_up_loads_nothing_heavy(module: str, heavy: str) -> None:
    """In a fresh interpreter, since this one has loaded everything."""
    code = f"import sys, {module}; print(*[name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"importing {module} loads {done.stdout.split()}"
