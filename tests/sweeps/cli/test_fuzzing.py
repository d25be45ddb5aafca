"""Mutated sweep files, forge files and values of `--set`: accepted, or refused in four parts, within seconds."""

from __future__ import annotations

import copy
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps import api
from sweeps.cli.main import main
from sweeps.spec.studies import studies

LIMIT_S = 10
FORGE = """\
images: {name: cifar10, size: 32, train: 64, val: 32, test: 32}
mask: {name: box, side: [0.1, 0.5]}
inpainters: [{name: telea}, {trial: 0123456789abcdef}, {best: {sweep: forgers, arm: a, metric: val/psnr_db}}]
composite: hole
reals: paired
feather: 2
encoder: {name: jpeg, quality: [75, 95]}
"""
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", " ", "\0", "\x1b[31m", "é", "e\u0301", "\u202e", "\U0001f600", "=1+1", "x" * 3000, "../../x", "/etc/passwd"),
    *("1e-5", "on", "~", "<<", "a.b.c", "./x.py:Y", "os:system", "{name: x}", "pending-1"),
    *([], {}, [[]], {"": 1}, [1, "a"], {"name": None}, {"name": "x"}, [None], {"a": {"b": {"c": 1}}}, [{"name": []}]),
)
SNIPPETS = (
    "[" * 60,
    "{" * 60,
    "&a [*a]",
    "*a",
    "<<: *a",
    "? [a]",
    "- - - -",
    "\t",
    ": ",
    "'",
    '"',
    "|",
    "%",
    "!!python/x 1",
)


@contextmanager
def time_limit() -> Iterator[None]:
    """Limit the processor time, because other processes of the machine may slow a test down."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values below a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in [(*place, key), *places(item, (*place, key))]]


def changed(value: Any, draw: random.Random) -> Any:
    """A copy with one to three values replaced, deleted, renamed, wrapped or swapped."""
    root = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        every = places(root)
        if not every:
            break
        *path, last = draw.choice(every)
        inner = root
        for part in path:
            inner = inner[part]
        kind = draw.choice(("replace", "replace", "delete", "rename", "wrap", "swap"))
        if kind == "delete":
            del inner[last]
        elif kind == "wrap":
            inner[last] = draw.choice(([inner[last]] * 2, {"name": inner[last]}))
        elif kind == "rename" and isinstance(inner, dict):
            inner[draw.choice((str(last)[:-1], f"{last}x", 3, "name", "<<"))] = inner.pop(last)
        elif kind == "swap":
            other = root
            for part in draw.choice(every):
                other = other[part] if _has(other, part) else other
            inner[last] = copy.deepcopy(other)
        else:
            inner[last] = copy.deepcopy(draw.choice(NASTY))
    return root


def _has(value: Any, part: Any) -> bool:
    return (isinstance(value, dict) and part in value) or (
        isinstance(value, list) and type(part) is int and part < len(value)
    )


def mutated(text: str, draw: random.Random) -> str:
    """The text with a change of its values or of its characters."""
    if draw.random() < 0.7:
        return yaml.safe_dump(changed(yaml.safe_load(text), draw), sort_keys=False, allow_unicode=True)
    at = draw.randrange(len(text))
    lines = text.splitlines(keepends=True)
    line = draw.randrange(len(lines))
    return draw.choice(
        (
            text[:at] + draw.choice(SNIPPETS) + text[at:],
            text[:at] + chr(draw.choice((0, 27, 160, 0xFEFF, 0x1F600))) + text[at + 1 :],
            text[:at],
            "".join([*lines[:line], *lines[line + 1 :]]),
            "".join([*lines[:line], lines[line], *lines[line:]]),
            "".join([*lines[:line], " " + lines[line], *lines[line + 1 :]]),
        )
    )


def check_file(draw: random.Random, folder: Path) -> int:
    file = folder / "sweep.yaml"
    file.write_text(mutated(draw.choice(list(studies())).path.read_text(), draw))
    return main(["check", str(file), *draw.choice(([], [], ["--tiny"]))])


def check_forge_file(draw: random.Random, folder: Path) -> int:
    file = folder / "forge.yaml"
    file.write_text(mutated(FORGE, draw))
    try:
        api.load_forge(file, folder / "store")
    except ValueError as error:
        if not hasattr(error, "allowed"):
            raise
        print(f"error: {error}")
        return 2
    return 0


def check_change(draw: random.Random, _: Path) -> int:
    study = draw.choice(list(studies()))
    places_ = [place for place in places(yaml.safe_load(study.path.read_text())) if all(map(str, place))]
    key = ".".join(map(str, draw.choice(places_))).removeprefix("base.")
    value = draw.choice(NASTY)
    text = draw.choice((json.dumps(value), str(value), *SNIPPETS))
    return main(["check", study.stem, "--set", f"{draw.choice((key, key, key[:-1], f'{key}.x', ''))}={text}"])


DOORS = (check_file, check_file, check_forge_file, check_change)


def run(seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Try one mutation; returns what went wrong."""
    draw = random.Random(seed)
    door: Callable[[random.Random, Path], int] = draw.choice(DOORS)
    try:
        with time_limit():
            code = door(draw, folder)
    except BaseException as error:  # SystemExit is a fault, too
        capsys.readouterr()
        return [f"seed {seed}, {door.__name__}: {type(error).__name__}: {str(error)[:200]}"]
    said = "".join(capsys.readouterr())
    parts = all(part in said for part in ("error: ", "\n  why:     ", "\n  allowed: ", "\n  do:      "))
    if code not in (0, 2) or (code == 2 and (not parts or len(said) > 20_000)):
        return [f"seed {seed}, {door.__name__}: exit code {code}, {len(said)} characters: {said[:200]!r}"]
    return []


FOUND = (1454, 1457, 1688, 1865, 2322, 2689)
"""Mutations that ended in tracebacks: names that are no texts."""


def test_no_mutation_ends_in_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [fault for seed in (*range(60), *FOUND) for fault in run(seed, tmp_path, capsys)]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
def test_none_of_two_thousand_mutations_ends_in_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [fault for seed in range(1000, 3000) for fault in run(seed, tmp_path, capsys)]
    assert not faults, "\n".join(faults)
