"""Random changes of users' projects: one that changes what the code does makes a new trial, one of layout does not."""

from __future__ import annotations

import random
import site
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.spec.trial import Trial
from tests.trainables.code import mutations
from tests.trainables.code.projects import PROJECTS, Project, Python
from trainables import schema

FEW, MANY = 4, 50
"""Changes of each project."""


def trial_id(project: Project, root: Path) -> str:
    """The id of a trial of a sweep in `home`, as a plan computes it."""
    config = {
        "data": {"name": "cifar10"},
        "mask": {"name": "lines"},
        "model": {"name": "vanilla_autoencoder"},
        "loss": {"l2": 1.0, project.name: 0.5},
    }
    resolved = schema.resolve("inpaint", config, root / "home")
    return Trial("inpaint", resolved, 0, schema.identity("inpaint", resolved, 0)).id


def change(project: Project, root: Path, python: Python, chance: random.Random) -> tuple[str, bool, Path, bytes]:
    """Change one file of a project: what was changed, whether the code gives other values now, the file as it was.

    Only Python itself decides whether values change: it runs the code before and after where the user wrote it.
    """
    before = python.value(project, root)
    for _ in range(100):
        meaning = chance.random() < 0.5
        file = root / chance.choice([one for one in project.files if meaning or one.endswith(".py")])
        old = file.read_bytes()
        kind, make = chance.choice(sorted((mutations.MEANING if meaning else mutations.LAYOUT).items()))
        if file.suffix != ".py":
            kind, make = "data", mutations.data
        new = make(old.decode(), chance).encode()
        if new == old:
            continue
        file.write_bytes(new)
        after = python.value(project, root)
        what = f"{kind} in {file.relative_to(root)}"
        assert meaning or after == before, f"{what} is to be layout alone: {before}, {after}\n{new.decode()}"
        if (after != before) == meaning and not after.endswith("Error"):
            return what, meaning, file, old
        file.write_bytes(old)
    raise AssertionError("no change was found")


def check(project: Project, root: Path, python: Python, changes: int, seed: int) -> None:
    """Check the id of a trial before and after each of several changes, and when they are undone."""
    chance = random.Random(seed)
    first = trial_id(project, root)
    for _ in range(changes):
        what, meaning, file, old = change(project, root, python, chance)
        after, new = trial_id(project, root), file.read_text()
        if meaning:
            assert after != first, f"a stale result: {what} changes the values, and the id stays\n{new}"
        else:
            assert after == first, f"trained again for nothing: {what} is layout alone\n{new}"
        file.write_bytes(old)
    assert trial_id(project, root) == first
    for unrelated in project.unrelated:
        (root / unrelated).write_text("this is not Python")
    assert trial_id(project, root) == first, "files that no source mentions do not count"


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    python = Python()
    yield python
    python.close()


@pytest.fixture
def root(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a project; what its editable install adds to this process is removed again."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    PROJECTS[name].write(tmp_path)
    site.addsitedir(str(tmp_path / "site"))
    yield tmp_path
    sys.modules.pop("__editable_theirs_finder", None)


@pytest.mark.parametrize("name", PROJECTS)
def test_changes_of_a_project(name: str, root: Path, python: Python) -> None:
    check(PROJECTS[name], root, python, FEW, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROJECTS)
def test_many_changes_of_a_project(name: str, root: Path, python: Python) -> None:
    check(PROJECTS[name], root, python, MANY, seed=18)
