"""Small projects of users, each with a loss term whose value depends on every file of the project."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

VALUES = """
import importlib, os, site, sys
sys.dont_write_bytecode = True
for line in sys.stdin:
    home, site_folder, module = line.rstrip("\\n").split("\\t")
    process = os.fork()
    if process:
        os.waitpid(process, 0)
        continue
    os.chdir(home)
    sys.path.insert(0, home)
    site.addsitedir(site_folder)
    try:
        value = repr(importlib.import_module(module).term(3.0, 2.0))
    except Exception as error:
        value = type(error).__name__
    print(value, flush=True)
    os._exit(0)
"""
"""A Python that runs nothing of ours. For each line it prints what a project gives where the user wrote it."""


class Python:
    """Runs projects of users in new processes, forked from one that has imported nothing yet."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-c", VALUES]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def value(self, project: Project, root: Path) -> str:
        """The value of the project's term, or the name of its error."""
        asked, answer = self._process.stdin, self._process.stdout
        assert asked
        assert answer
        asked.write(f"{root / 'home'}\t{root / 'site'}\t{project.module}\n")
        asked.flush()
        return answer.readline().strip()

    def close(self) -> None:
        self._process.communicate()


CURVE = '''"""The shape of the error."""

SHARPNESS = 1.75  # found by trying


def curve(x, power=2, offset=0.125):
    """Bend an error."""
    if x > 4.5:
        x = 4.5 + (x - 4.5) / 8
    return abs(x) ** power * SHARPNESS + offset


def other_curve(x, power=3, offset=0.25):
    return abs(x) ** power - offset
'''


@dataclass(frozen=True)
class Project:
    """Files below a folder, and how a sweep file in `home` names the loss term."""

    name: str
    """As in a sweep file."""
    module: str
    """As Python imports it."""
    files: dict[str, str]
    unrelated: tuple[str, ...] = ("home/notes.md",)
    """Files that no source mentions."""
    site: dict[str, str] = field(default_factory=dict)
    """Files of the folder `site`, as an editable install leaves them in `site-packages`; {root} is the folder."""

    def write(self, root: Path) -> None:
        for path, text in {"home/notes.md": "# Notes\n", "site/README": "", **self.files, **self.site}.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("{root}", str(root)) if path in self.site else text)


SIBLINGS = Project(
    "./term.py",
    "term",
    {
        "home/term.py": '''"""A loss term."""

from weights import weight


def term(prediction, target):
    """The weighted error."""
    error = (prediction - target) * 2.5
    return weight(error) + 1 / 16
''',
        "home/weights.py": """from curves import smooth as bend

TABLE = {"low": 0.5, "high": 1.5}


def weight(error):
    total = 0.0
    for name in ("low", "high"):
        total += TABLE[name] * bend(error)
    return total
""",
        "home/curves.py": """import math


def smooth(x):
    from constants import (
        SCALE,
        SHIFT,
    )  # imported when it is called

    return math.tanh(x * SCALE) + SHIFT


def rough(x):
    return math.atan(x) + 0.25
""",
        "home/constants.py": '"""Constants."""\n\nSCALE = 0.375\nSHIFT = -1.25\nUNITS = \'px\'\n',
    },
    ("home/notes.md", "home/unrelated.py"),
)
PACKAGE = Project(
    "./pack/term.py:term",
    "pack.term",
    {
        "home/pack/__init__.py": "from .core.numbers import BASE\n",
        "home/pack/term.py": """from . import BASE
from .core import curve


def term(prediction, target):
    return curve(prediction - target) * BASE + curve(prediction, power=1)
""",
        "home/pack/core/__init__.py": 'from .bend import curve\n\n__all__ = ["curve"]\n',
        "home/pack/core/bend.py": CURVE + "\n\nfrom ..core.numbers import STEP\n\nSHARPNESS *= STEP\n",
        "home/pack/core/numbers.py": "BASE = 3\nSTEP = 1.5\n",
    },
)
DATA = Project(
    "./term.py:term",
    "term",
    {
        "home/term.py": '''import csv
import json
import os
from pathlib import Path

HERE = Path(__file__).parent
PALETTE = json.loads((HERE / "assets" / "palette.json").read_text())
with open("offsets.txt") as lines:
    OFFSETS = [float(line) for line in lines]


def rows(name):
    with open(os.path.dirname(__file__) + f"/tables/{name}.csv") as file:
        return [float(row[1]) for row in csv.reader(file)]


def term(prediction, target):
    """Of everything that it reads."""
    more = sum(float(path.read_text()) for path in sorted((HERE / "extra").glob("*.txt")))
    first, second = rows("first"), rows("second")
    return sum(PALETTE.values()) * prediction + sum(OFFSETS) * target + first[0] + second[1] / 8 + more
''',
        "home/assets/palette.json": json.dumps({"red": 0.5, "green": 0.25}, indent=2),
        "home/offsets.txt": "1.5\n2.25\n",
        "home/tables/first.csv": "a,1.5\n",
        "home/tables/second.csv": "a,1\nb,6.5\n",
        "home/extra/one.txt": "11.5",
        "home/extra/two.txt": "7.25",
    },
)
DYNAMIC = Project(
    "./term.py",
    "term",
    {
        "home/term.py": """import importlib

from layers.bend import curve
from parts import *

BLOCKS = [importlib.import_module(f"blocks.{name}") for name in ("one", "two")]


def term(prediction, target):
    total = first.GAIN * second.GAIN
    for block in BLOCKS:
        total = block.apply(total, prediction)
    return total + curve(target) + importlib.import_module(".tail", "blocks").END
""",
        "home/layers/bend.py": CURVE,  # a folder without __init__.py
        "home/parts/__init__.py": '__all__ = ["first", "second"]\n',
        "home/parts/first.py": "GAIN = 1.25\n",
        "home/parts/second.py": "GAIN = 0.75\n",
        "home/blocks/__init__.py": '"""Blocks."""\n',
        "home/blocks/one.py": "def apply(x, y):\n    return x + y * 2\n",
        "home/blocks/two.py": "def apply(x, y, scale=0.5):\n    return x * scale - y\n",
        "home/blocks/tail.py": "END = 8\n",
    },
    ("home/notes.md", "home/layers/unused.py"),
)
EDITABLE = {
    "source/theirs/__init__.py": "",
    "source/theirs/term.py": """from theirs.inner.bend import curve
from theirs.inner.gain import gain


def term(prediction, target):
    return curve(prediction) - gain(target)
""",
    "source/theirs/inner/__init__.py": "",
    "source/theirs/inner/bend.py": CURVE,
    "source/theirs/inner/gain.py": """from pathlib import Path

TEXT = Path(__file__).with_name("gain.txt").read_text()


def gain(x, bias=2.0):
    return x * float(TEXT) + bias
""",
    "source/theirs/inner/gain.txt": "4.5\n",
}
PTH = Project("theirs.term:term", "theirs.term", EDITABLE, site={"site/theirs.pth": "{root}/source\n"})
FINDER = Project(
    "./mine.py",
    "mine",
    {
        **EDITABLE,
        "home/mine.py": "from theirs.term import term as theirs\n\n\n"
        "def term(prediction, target):\n    return theirs(prediction, target) * 1.5\n",
    },
    site={
        "site/__editable__.theirs.pth": "import __editable_theirs_finder\n",
        "site/__editable_theirs_finder.py": """import sys
from importlib.util import spec_from_file_location


class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "theirs":
            folder = "{root}/source/theirs"
            return spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])


sys.meta_path.append(Finder)
""",
    },
)
PROJECTS = {
    "siblings": SIBLINGS,
    "package": PACKAGE,
    "data files": DATA,
    "dynamic imports": DYNAMIC,
    "editable install by .pth": PTH,
    "editable install by finder": FINDER,
}
