"""The verb that writes a file to start from."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from sweeps.cli import common
from sweeps.cli.new.skeletons import SWEEPS, TEXTS
from sweeps.errors import SweepError

KEYS = {
    "method": "model: {{name: {}}}",
    "mask": "mask: {{name: {}}}",
    "loss": "loss: {{l2: 1.0, {}: 0.1}}",
    "metric": "report: {{extra: [{}]}}",
    "dataset": "data: {{name: {}}}",
}
"""How a sweep file names code of a kind. A task and a command are named by the sweep beside them."""


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(new, "new", "write a file to start from, which runs as it is")
    parser.add_argument("kind", metavar="KIND", choices=list(TEXTS), help=f"one of {', '.join(TEXTS)}")
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="the file to write: .py, or .yaml for a sweep; a task and a command also get a sweep beside them",
    )


def new(options: argparse.Namespace) -> int:
    kind, file = options.kind, options.file
    _check(kind, file)
    sweep, name = file.with_suffix(".yaml"), re.sub("^[_-]+", "", file.stem.lower())
    if kind in SWEEPS and sweep.exists():
        raise _error(
            sweep,
            f"a {kind} gets a sweep beside it, and this file exists",
            "a name without a file",
            f"sweeps new {kind} {file.with_stem(f'{file.stem}_2')}",
        )
    text = TEXTS[kind].replace("FILE", file.name).replace("NAME", file.stem).replace("SWEEP", sweep.name)
    _write(file, text)
    if kind not in SWEEPS:
        print(f"wrote {file}. {_next_step(kind, file)}")
        return common.DONE
    _write(sweep, SWEEPS[kind].replace("FILE", sweep.name).replace("CODE", file.name).replace("NAME", name))
    print(f"wrote {file} and {sweep}. {_next_step('sweep', sweep)}")
    return common.DONE


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as target:  # never overwrites
            target.write(text)
    except FileExistsError as error:
        raise _error(
            file, "it exists", "a file that does not exist yet", "choose another name, or delete the file"
        ) from error
    except OSError as error:
        raise _error(
            file, f"it cannot be written: {error.strerror}", "a file in an existing folder", f"mkdir -p {file.parent}"
        ) from error


def _check(kind: str, file: Path) -> None:
    """Raise SweepError for names that a sweep file could not use."""
    ending = ".yaml" if kind == "sweep" else ".py"
    if file.suffix not in (ending, ".yml" if kind == "sweep" else ending):
        named = file.with_suffix(ending)
        raise _error(
            file,
            f"a {kind} is a file that ends in {ending}",
            f"*{ending}",
            f"sweeps new {kind} {named}",
        )
    if kind == "metric" and not re.fullmatch(r"[a-z][a-z0-9_]*", file.stem):
        better = re.sub(r"[^a-z0-9_]+", "_", file.stem.lower()).lstrip("_0123456789") or "my_metric"
        raise _error(
            file,
            "the file names the column, and columns have lower-case letters, digits and `_`",
            "names of these characters that begin with a letter",
            f"sweeps new {kind} {file.with_name(better + file.suffix)}",
        )
    if not re.fullmatch(r"\w[\w-]*", file.stem, re.ASCII):
        better = re.sub(r"\W+", "_", file.stem, flags=re.ASCII).strip("_") or f"my_{kind}"
        raise _error(
            file,
            "its name has other characters than letters, digits, `_` and `-`, or begins with another one",
            "names of these characters",
            f"sweeps new {kind} {file.with_name(better + file.suffix)}",
        )
    if kind != "sweep" and _hides_a_module(file.stem):
        raise _error(
            file,
            f"it would hide the module {file.stem} of Python or of an installed package",
            "names that no other module has",
            f"sweeps new {kind} {file.with_name(f'my_{file.name}')}",
        )


def _hides_a_module(name: str) -> bool:
    from trainables.code.closure import OURS, is_installed

    return name in sys.stdlib_module_names or name in OURS or is_installed(name)


def _next_step(kind: str, file: Path) -> str:
    if kind == "sweep":
        return f"Try it: sweeps run {file} --tiny"
    return f"In a sweep file in the same folder: {KEYS[kind].format(f'./{file.name}')}"


def _error(file: Path, why: str, allowed: str, fix: str) -> SweepError:
    return SweepError(f"sweeps new: {file}", why, allowed, fix)
