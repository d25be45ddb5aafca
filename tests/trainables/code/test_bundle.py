"""A user's code: which files belong to it, what changes its hash, and that what was hashed is what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainables.code import bundle, cache, loading
from trainables.code.syntax import source_hash
from trainables.errors import TrialError

ROOT = Path(__file__).resolve().parents[3]
Write = Callable[[dict[str, str]], Path]


def packed(folder: Path, name: str = "net.py") -> bundle.Bundle:
    return bundle.pack(folder / name, f"model.name: ./{name}")


# --- which files ------------------------------------------------------------------------------------------------------


def test_siblings_packages_and_relative_imports_are_followed_however_deep(write: Write) -> None:
    folder = write(
        {
            "net.py": "import torch\nfrom parts.layers import block\ndef build():\n    import late\n",
            "parts/__init__.py": "",
            "parts/layers.py": "from . import norms\nfrom .deep.er import y\nblock = 1\n",
            "parts/norms.py": "",
            "parts/deep/__init__.py": "",
            "parts/deep/er.py": "import importlib\nimportlib.import_module('by_name')\ny = 2\n",
            "by_name.py": "",
            "late.py": "",
            "unrelated.py": "this is not Python",
        }
    )
    found = packed(folder)
    assert set(found.files) == {
        *("net.py", "parts/__init__.py", "parts/layers.py", "parts/norms.py", "late.py", "by_name.py"),
        *("parts/deep/__init__.py", "parts/deep/er.py"),
    }
    assert found.module == "net"
    assert found.packages == ("torch",)


def test_a_file_in_a_package_is_imported_as_a_part_of_it(write: Write) -> None:
    folder = write(
        {"pack/__init__.py": "", "pack/net.py": "from .other import value\n", "pack/other.py": "value = 7\n"}
    )
    found = packed(folder, "pack/net.py")
    assert found.module == "pack.net"
    assert loading.load(cache.keep(found.files), found.module).value == 7


def test_an_editable_install_belongs_to_the_code(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"net.py": "import elsewhere.part\n"})
    source = tmp_path / "source"
    (source / "elsewhere").mkdir(parents=True)
    (source / "elsewhere" / "__init__.py").write_text("")
    (source / "elsewhere" / "part.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(source))  # as the .pth file of an editable install does
    assert set(packed(folder).files) == {"net.py", "elsewhere/__init__.py", "elsewhere/part.py"}


def test_our_packages_do_not_belong_to_the_code(write: Write) -> None:
    """Here they are imported from a checkout, which is no folder of installed packages."""
    files = packed(write({"net.py": "from trainables.inpaint.method import Regression\nimport sweeps.api\n"})).files
    assert set(files) == {"net.py"}
    assert set(bundle.pack(ROOT / "examples" / "residual_network.py", "").files) == {"residual_network.py"}


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import not_there\nexcept ImportError:\n    not_there = None\n",
        "try:\n    from not_there import x\nexcept (ValueError, ModuleNotFoundError):\n    x = None\n",
        "import typing\nif typing.TYPE_CHECKING:\n    import not_there\n",
    ],
)
def test_an_import_that_may_fail_is_not_missing(write: Write, source: str) -> None:
    assert packed(write({"net.py": source})).packages == ()


@pytest.mark.parametrize(
    ("opening", "name"),
    [
        ('open("table.json")', "table.json"),
        ('Path(__file__).parent / "data" / "table.json"', "data/table.json"),
        ('os.path.join(HERE, "data", "table.json")', "data/table.json"),
        ('Path(__file__).with_name("table.json")', "table.json"),
    ],
)
def test_files_that_the_source_names_belong_to_the_code(write: Write, opening: str, name: str) -> None:
    files = {
        "net.py": f"import os\nfrom pathlib import Path\nHERE = '.'\nfound = lambda: {opening}\n",
        "table.json": "1",
        "data/table.json": "1",
    }
    first = packed(write(files))
    assert name in first.files
    assert packed(write({name: "2"})).hash != first.hash


def test_our_own_packages_are_no_part_of_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither installed nor from a checkout on the path."""
    monkeypatch.syspath_prepend(str(Path(bundle.__file__).parents[2]))
    found = packed(write({"net.py": "from trainables.config.model_sections import ModelConfig\nimport sweeps\n"}))
    assert set(found.files) == {"net.py"}


# --- the hash ---------------------------------------------------------------------------------------------------------

SOURCE = '''
"""What it is."""
import math

class Net:
    """A network."""

    def forward(self, x, scale=2.0):
        """Scale."""
        if x > 0:
            return f"{x:>{scale}}" + str(math.pi * scale) + 'a' 'b'
        return [y for y in range(3)]
'''
SAME = {
    "a comment": lambda s: s.replace("if x > 0:", "if x > 0:  # positive"),
    "a docstring": lambda s: s.replace("A network.", "Another text."),
    "no docstring": lambda s: s.replace('    """A network."""\n\n', ""),
    "blank lines": lambda s: s.replace("import math\n", "import math\n\n\n\n"),
    "quotes": lambda s: s.replace("'a' 'b'", '"ab"'),
    "parentheses": lambda s: s.replace("x > 0", "(x > 0)"),
    "a line break": lambda s: s.replace("self, x, scale=2.0", "self,\n        x,\n        scale=2.0,\n    "),
    "the spelling of a number": lambda s: s.replace("2.0", "2.00"),
}
OTHER = {
    "a number": lambda s: s.replace("2.0", "2.5"),
    "its type": lambda s: s.replace("2.0", "2"),
    "an operator": lambda s: s.replace("x > 0", "x >= 0"),
    "a name": lambda s: s.replace("math.pi", "math.e"),
    "a text": lambda s: s.replace("'a' 'b'", "'a' 'c'"),
    "a format": lambda s: s.replace(":>{scale}", ":<{scale}"),
    "a default": lambda s: s.replace("scale=2.0", "scale=None"),
    "an order": lambda s: s.replace("x, scale=2.0", "scale, x=2.0"),
    "a decorator": lambda s: s.replace("    def forward", "    @staticmethod\n    def forward"),
    "what is read as text": lambda s: s + "\nTEXT = Net.__doc__\n",
}


@pytest.mark.parametrize("change", SAME)
def test_comments_docstrings_and_layout_do_not_change_the_hash(change: str) -> None:
    changed = SAME[change](SOURCE)
    assert changed != SOURCE
    assert source_hash(changed) == source_hash(SOURCE)


@pytest.mark.parametrize("change", OTHER)
def test_what_the_code_does_changes_the_hash(change: str) -> None:
    assert source_hash(OTHER[change](SOURCE)) != source_hash(SOURCE)


def test_a_docstring_counts_where_the_source_reads_it() -> None:
    first = SOURCE + "\nprint(Net.__doc__)\n"
    assert source_hash(first) != source_hash(first.replace("A network.", "Another text."))


def test_the_hash_is_the_same_in_another_process_with_other_hash_seeds() -> None:
    code = f"from trainables.code.syntax import source_hash; print(source_hash({SOURCE!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == source_hash(SOURCE)


# --- importing --------------------------------------------------------------------------------------------------------


def test_what_was_hashed_is_imported_whatever_happens_to_the_files(write: Write) -> None:
    folder = write({"net.py": "from helper import value\n", "helper.py": "value = 1\n"})
    old = packed(folder)
    old_hash = cache.keep(old.files)
    write({"helper.py": "value = 2\n"})
    new = packed(folder)
    new_hash = cache.keep(new.files)
    (folder / "helper.py").unlink()
    assert old_hash != new_hash
    for _ in range(2):
        assert loading.load(old_hash, "net").value == 1
        assert loading.load(new_hash, "net").value == 2


def test_code_that_was_changed_in_the_cache_is_not_imported(write: Write) -> None:
    files = packed(write({"net.py": "value = 1\n"})).files
    name = cache.keep(files)
    (cache.cache_folder() / name / "net.py").write_text("value = 666\n")
    with pytest.raises(TrialError, match="has been changed"):
        loading.load(name, "net")
    assert cache.keep(files) == name
    assert loading.load(name, "net").value == 1


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"net.py": "def f(:\n"}, "net.py:1 does not parse"),
        ({"net.py": "\nx = 1\0\n"}, "net.py:2 does not parse: source code string cannot contain null bytes"),
        ({"net.py": "import helper\n", "helper.py": "x = = 1\n"}, "helper.py:1 does not parse"),
        ({"net.py": "\n\nimport not_there\n"}, "net.py:3 imports not_there"),
        ({"net.py": "from parts import gone\n", "parts/__init__.py": "from .missing import x"}, "parts.missing"),
        ({"net.py": "import trainables\n", "trainables.py": ""}, "would hide the module trainables of this package"),
        ({"torch.py": "", "net.py": "import torch\n"}, "would hide the module torch of an installed package"),
        ({"random.py": "", "net.py": "import random\n"}, "would hide the module random of Python"),
        ({"net.py": "open('big.bin')", "big.bin": "0" * 10_000_001}, "10.0 MB together; the largest is big.bin"),
    ],
)
def test_code_that_cannot_be_used_is_refused(write: Write, files: dict[str, str], says: str) -> None:
    with pytest.raises(TrialError, match=says) as caught:
        packed(write(files))
    error = caught.value
    assert error.given == "model.name: ./net.py"
    assert all((error.why, error.allowed, error.fix))


@pytest.mark.parametrize("path", ["../evil.py", "/etc/evil.py", "a/../../evil.py", "", "a\\..\\b.py"])
def test_code_cannot_leave_its_folder(path: str) -> None:
    with pytest.raises(TrialError, match="outside the folder"):
        cache.keep({path: b"1"})


def test_a_file_cannot_have_the_name_of_an_installed_package(write: Write) -> None:
    with pytest.raises(TrialError, match="would hide the module torch of an installed package"):
        packed(write({"torch.py": ""}), "torch.py")
