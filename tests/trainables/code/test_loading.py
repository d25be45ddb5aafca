"""What runs is what was hashed, whichever code was imported last and wherever the process runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainables.code import bundle, cache, loading
from trainables.errors import TrialError

Write = Callable[[dict[str, str]], Path]


def kept(folder: Path, name: str = "net.py") -> str:
    return cache.keep(bundle.pack(folder / name, f"./{name}").files)


def test_an_import_inside_a_function_finds_the_code_that_it_belongs_to(write: Write) -> None:
    """Two versions of a file and its sibling in one process, as after an edit in a notebook."""
    late = "def value():\n    import helper\n    from parts.late import x\n    return helper.value, x\n"
    modules = []
    for version in ("1", "2"):
        files = {"net.py": late, "helper.py": f"value = {version}\n", "parts/late.py": f"x = {version}\n"}
        modules.append(loading.load(kept(write(files)), "net"))
    other = kept(write({"terms.py": "import helper\n"}), "terms.py")
    for module, value in zip([*modules, *reversed(modules)], (1, 2, 2, 1), strict=True):
        loading.load(other, "terms")  # has `helper`, and no `parts`
        assert module.value() == (value, value)


def test_a_sibling_that_is_gone_is_missed_though_an_older_version_is_loaded(write: Write) -> None:
    folder = write({"net.py": "import helper\n", "helper.py": "value = 1\n"})
    loading.load(kept(folder), "net")
    (folder / "helper.py").unlink()
    with pytest.raises(TrialError, match="imports helper, which is neither beside the file nor installed"):
        kept(folder)


def test_docstrings_count_where_another_file_reads_them(write: Write) -> None:
    files = {"net.py": "import helper\nLENGTH = len(helper.f.__doc__)\n", "helper.py": 'def f():\n    """One."""\n'}
    first = kept(write(files))
    assert kept(write({"helper.py": 'def f():\n    """Another."""\n'})) != first


@pytest.mark.parametrize("read", ["open('table.txt')", "open(file='table.txt', mode='r')"])
def test_a_file_opened_by_a_relative_path_is_that_of_the_code(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    source = f"def value():\n    with {read} as file:\n        return file.read()\n"
    folder = write({"net.py": source, "table.txt": "1"})
    module = loading.load(kept(folder), "net")
    write({"table.txt": "2"})
    for place in (folder, tmp_path):
        monkeypatch.chdir(place)
        assert module.value() == "1"
    assert loading.load(kept(folder), "net").value() == "2"


@pytest.mark.parametrize(
    "read",
    [
        "Path('table.txt').read_text()",
        "open('assets/table.txt').read()",
        "open('assets/' + name + '.txt').read()",
        "open(f'assets/{name}.txt').read()",
        "np.loadtxt('table.txt')",
        "os.listdir('assets')",
        "list(Path('assets').glob('*.txt'))",
    ],
)
def test_a_read_relative_to_the_working_directory_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Its id would not know what was read."""
    source = f"import os\nimport numpy as np\nfrom pathlib import Path\n\ndef value(name='table'):\n    return {read}\n"
    folder = write({"code/net.py": source, "table.txt": "1", "assets/table.txt": "1"})
    module = loading.load(kept(folder, "code/net.py"), "net")
    monkeypatch.chdir(folder)
    with pytest.raises(TrialError, match="relative to the working directory") as caught:
        module.value()
    assert caught.value.given == "net.py:6"


def test_a_path_of_the_configuration_may_be_relative(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(
        {"net.py": "def value(path):\n    with open(path) as file:\n        return file.read()\n", "given.txt": "1"}
    )
    module = loading.load(kept(folder), "net")
    monkeypatch.chdir(folder)
    assert module.value("given.txt") == "1"
