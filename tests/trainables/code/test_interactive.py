"""Code of a notebook cell or of the running script: what is collected, what changes its hash, what is refused."""

from __future__ import annotations

import ast
import importlib
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainables.code.notebook import interactive, objects
from trainables.code.syntax import source_hash
from trainables.errors import TrialError
from trainables.masks import families

Collect = Callable[..., str]

SCRIPT = """
import math
import xml.etree.ElementTree
from collections import OrderedDict as Ordered
from functools import partial
from os import path
from mine import helper, LIMIT

WIDTH = 8
TABLE = {"a": [1.5, None], "b": ("x",), "c": {3, 1}}
round_up = partial(math.ceil)
unused = object()


def scale(value):
    # a comment
    return value * WIDTH + depth(2) + LIMIT


def depth(level):
    return level if level == 0 else depth(level - 1)


def traced(function):
    return lambda *given: late() + function(*given)


def late():
    return 1


class Base:
    sizes = [WIDTH for _ in range(2)]


class Thing(Base):
    '''What it is.'''

    names = Ordered(TABLE)

    def value(self, x: int = WIDTH):
        unused = 3
        return scale(x) + round_up(0.5) + len(self.names) + sum(self.sizes) + helper(unused)

    @staticmethod
    def parse(text):
        return xml.etree.ElementTree.fromstring(text).tag + path.sep


@traced
def wrapped(x):
    return x
"""


@pytest.fixture
def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Run a script as `__main__`, and collect what one of its names means there."""
    (tmp_path / "mine.py").write_text("LIMIT = 100\ndef helper(x): return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)

    def run(script: str, name: str = "Thing") -> str:
        file = tmp_path / "script.py"
        file.write_text(
            f"{script}\nfrom trainables.code.notebook.interactive import collect\nCOLLECTED = collect({name})\n"
        )
        return str(runpy.run_path(str(file), run_name="__main__")["COLLECTED"])

    return run


def executed(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "collected"}
    exec(compile(source, "collected", "exec"), names)
    return names


def test_what_it_uses_is_collected_and_works_elsewhere(collect: Collect) -> None:
    source = collect(SCRIPT)
    names = executed(source)
    assert names["Thing"]().value() == 8 * 8 + 0 + 100 + 1 + 3 + 16 + 3
    assert names["Thing"].parse("<tag/>").startswith("tag")
    assert names["TABLE"] == {"a": [1.5, None], "b": ("x",), "c": {3, 1}}
    assert "wrapped" not in names
    assert "unused" not in names
    assert "# a comment" in source
    assert "from mine import helper" in source


def test_a_decorator_is_collected_with_what_it_calls(collect: Collect) -> None:
    script = SCRIPT.replace("return lambda *given: late() + function(*given)", "late(); return function")
    assert executed(collect(script, "wrapped"))["wrapped"](2) == 2


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("    # a comment\n", "", False),
        ("'''What it is.'''", "'''Something else.'''", False),
        ("unused = object()", "unused = 5\nmore = 3", False),
        ("return x\n", "return x + 1\n", False),  # of `wrapped`
        ("WIDTH = 8", "WIDTH = 9", True),
        ("WIDTH = 8", "WIDTH = 4 + 4", False),  # its value counts
        ("return level if", "return 1 + level if", True),
        ("math.ceil", "math.floor", True),
        ("sizes = [WIDTH", "sizes = [2 * WIDTH", True),
        ("from mine import helper, LIMIT", "from mine import helper\nLIMIT = 7", True),
    ],
)
def test_only_what_it_uses_changes_the_hash(collect: Collect, old: str, new: str, changes: bool) -> None:
    assert old in SCRIPT
    assert (source_hash(collect(SCRIPT)) != source_hash(collect(SCRIPT.replace(old, new)))) == changes


def test_the_order_of_a_set_and_of_definitions_does_not_matter(collect: Collect) -> None:
    first = "NAMES = {'a', 'b', 'c'}\ndef other(): return NAMES\ndef thing(): return other()\n"
    second = "def thing(): return other()\ndef other(): return NAMES\nNAMES = {'c', 'b', 'a'}\n"
    assert collect(first, "thing") == collect(second, "thing")


def test_lazy_annotations_stay_lazy(collect: Collect) -> None:
    script = (
        "from __future__ import annotations\nimport math\nclass Thing:\n    def f(self, x: math) -> Thing: return x\n"
    )
    assert "from __future__ import annotations" in collect(script)
    executed(collect(script))


@pytest.mark.parametrize(
    ("script", "name", "says"),
    [
        ("thing = lambda x: x", "thing", "a lambda"),
        ("def outer():\n    def thing(): ...\n    return thing", "outer()", "inside a function"),
        ("def thing(): return missing", "thing", "it uses missing, which the session does not define"),
        ("def thing(): return get_ipython()", "thing", "it uses get_ipython"),
        ("value = object()\nvalue, other = value, 1\ndef thing(): return value", "thing", "does not simply assign it"),
        ("value = [object()]\nvalue = value + value\ndef thing(): return value", "thing", "its earlier value"),
        ("globals()['value'] = object()\ndef thing(): return value", "thing", "no statement that assigns it"),
        ("class A: ...\nclass Thing(A): ...\nclass A: ...", "Thing", "A was defined again after Thing"),
        (
            "class Thing:\n    def f(self): ...\ndef g(self): ...\nThing.f = g",
            "Thing",
            "Thing.f was set outside the definition",
        ),
        ("exec('def thing(): ...')", "thing", "its source is not known"),
        ("def thing(): return 1\nexec('def thing(): return 2')", "thing", "its source is not known"),
        (
            "def f(): return 1\nold = f\ndef f(): return 2\ndef thing(): return old() + f()",
            "thing",
            "two definitions of f",
        ),
    ],
)
def test_what_cannot_be_collected_is_an_error(collect: Collect, script: str, name: str, says: str) -> None:
    with pytest.raises(TrialError) as raised:
        collect(script, name)
    assert says in str(raised.value)
    assert raised.value.fix


# --- names of objects -------------------------------------------------------------------------------------------------


def test_a_function_of_a_file_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "by_file.py").write_text("def mask(n, size, generator): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mask = importlib.import_module("by_file").mask
    try:
        assert objects.name_object(mask, tmp_path) == objects.NamedObject("./by_file.py:mask", None)
        assert objects.name_object(mask, tmp_path / "other").written == "by_file:mask"
    finally:
        del sys.modules["by_file"]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (families.random_blocks, "it is part of this package"),
        (int, "it is not written in Python"),
        (len, "neither a class nor a function"),
        (print.__call__, "neither a class nor a function"),
    ],
)
def test_an_object_without_a_name_is_an_error(item: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=says):
        objects.name_object(item, tmp_path)


def test_files_that_the_code_names_belong_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.json").write_text("1")
    script = tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\nfrom trainables.code.notebook.objects import name_object\n"
        "def thing(): return open('table.json').read()\nNAMED = name_object(thing, Path('.'))\n"
    )
    monkeypatch.chdir(tmp_path)
    first = runpy.run_path(str(script), run_name="__main__")["NAMED"].resolved
    (tmp_path / "table.json").write_text("2")
    second = runpy.run_path(str(script), run_name="__main__")["NAMED"].resolved
    assert first.startswith("python_thing.py:thing#")
    assert first != second


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Run a cell in IPython; returns the names of the notebook."""
    import builtins

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    before = set(vars(builtins))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # restored afterwards
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))

    def run(text: str) -> dict[str, Any]:
        shell.run_cell(text, store_history=True).raise_error()
        names: dict[str, Any] = shell.user_ns
        return names

    yield run
    InteractiveShell.clear_instance()
    for name in set(vars(builtins)) - before:
        delattr(builtins, name)


def test_cells_are_collected_as_they_were_run_last(cell: Callable[[str], dict[str, Any]]) -> None:
    """Also after a cell with a magic, for a class without methods, and for a value that another cell replaced."""
    cell("import functools\n%time 1\nlimit = functools.partial(min, 3)")
    cell("class Sizes:\n    small = 1")
    names = cell("class Net:\n    def f(self): return limit(5) + Sizes.small  # a comment")
    first = interactive.collect(names["Net"])
    assert executed(first)["Net"]().f() == 4
    cell("other = 5")
    names = cell("class Net:\n    def f(self):\n        return limit(5) + Sizes.small")
    assert source_hash(interactive.collect(names["Net"])) == source_hash(first)
    cell("limit = functools.partial(min, 2)")
    assert executed(interactive.collect(names["Net"]))["Net"]().f() == 3
    cell("limit, more = functools.partial(min, 1), 2")
    with pytest.raises(TrialError, match="does not simply assign it"):
        interactive.collect(names["Net"])


def test_collected_source_is_one_module(collect: Collect) -> None:
    tree = ast.parse(collect(SCRIPT))
    assert ast.get_docstring(tree) == "Thing, as a Python session defined it."
