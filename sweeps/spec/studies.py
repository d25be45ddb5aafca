"""The studies that come with the package: their files, questions and findings, and how a name finds its file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.spec import yaml_document
from sweeps.spec.yaml_document import Document

FOLDER = Path(__file__).parent.parent
"""Folder that contains the shipped studies."""


@dataclass(frozen=True)
class ShippedStudy:
    """A shipped sweep file."""

    name: str
    """The `name:` in the file, under which a store keeps its results."""
    path: Path

    @property
    def stem(self) -> str:
        """The name of its file without `.yaml`."""
        return self.path.stem

    @property
    def file(self) -> str:
        """Its file, relative to the folder of the package: `inpainting/partial_conv.yaml`."""
        return self.path.relative_to(FOLDER).as_posix()

    @cached_property
    def document(self) -> Document:
        """The parsed file."""
        return yaml_document.read(self.path)

    @property
    def question(self) -> str:
        return self.document.question

    @property
    def found(self) -> str:
        """What its header says after `Found:`."""
        return " ".join(self.document.header.partition("\nFound: ")[2].split())

    @property
    def ran(self) -> str:
        """Whether it has been run: yes, no, or only `small`."""
        found = self.found.lower()
        if not re.search("not yet run in full|for the present network, not yet|^nothing here", found):
            return "yes"
        return "small" if re.search("at (the )?small(er)? size", found) else "no"


def studies() -> list[ShippedStudy]:
    """The shipped studies, sorted by folder and file name."""
    return [ShippedStudy(_name(path), path) for path in sorted(FOLDER.glob("*/*.yaml"))]


def find(name: str) -> ShippedStudy | None:
    """The study with this file name without `.yaml`, or with this `name:`; None if there is none."""
    return next((study for study in studies() if name in (study.stem, study.name)), None)


def sweep_file(given: str | Path) -> Path:
    """The file that an argument means: a path, or the name of a study if there is no file at that path.

    Raises SweepError with similar names if there is neither.
    """
    path = Path(given)
    if path.is_file():
        return path
    study = find(str(given))
    if study is not None:
        return study.path
    if path.exists():
        return path  # a folder; reading it says what is wrong
    raise _missing_error(path)


def _missing_error(path: Path) -> SweepError:
    """The error for a sweep file that does not exist: files beside it, and studies with a similar name."""
    beside = sorted(other.name for other in path.parent.glob("[!.]*.yaml")) if path.parent.is_dir() else []
    by_name = {name: study for study in studies() for name in (study.name, study.stem)}
    wanted = path.name if path.name in by_name else path.stem
    near = [by_name[name].stem for name in difflib.get_close_matches(wanted, by_name, 5)]
    similar = list(dict.fromkeys(near))
    close_file = difflib.get_close_matches(path.name, beside, 1)
    if close_file:
        fix = f"did you mean {path.with_name(close_file[0])}?"
    elif similar:
        fix = f"did you mean the study `{similar[0]}`?"
    else:
        fix = "check the path; `sweeps list studies` prints the studies"
    allowed = ", ".join([*beside, *similar]) or "the path of a sweep file, or the name of a study"
    return SweepError(str(path), "there is no such file, and no study with this name", allowed, fix)


def _name(path: Path) -> str:
    """The `name:` of a sweep file, read without parsing all of it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    name = next((line.removeprefix("name:").strip() for line in lines if line.startswith("name:")), path.stem)
    return name.strip("\"'")
