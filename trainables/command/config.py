"""The configuration of task `command`: how the program is called, its files and its columns; imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.command import files
from trainables.command.arguments import BUILT_IN, placeholders
from trainables.config.data_paths import DataPath, of_patterns
from trainables.config.task_config import TaskConfig, without_none
from trainables.errors import TrialError

Column = Annotated[str, Field(pattern=r"^(val|test)/[a-z][a-z0-9_]*$")]
_NAME = re.compile(r"[a-z_][a-z0-9_]*$")
HASH = r"^[0-9a-f]{16}$"
SECTION = "parameters"
"""Key of a resolved configuration with the program's own parameters, which a sweep file writes directly in `base`."""


class Config(TaskConfig):
    """The keys of `base`. Every key that is not listed here is a parameter of the program."""

    run: Annotated[list[str | int | float], Field(min_length=1)] | str = Field(
        description="the program and its arguments, a list; {name} stands for the parameter `name`"
    )
    shell: bool = Field(False, description="true: `run` is one line of text that /bin/sh interprets")
    code: list[str] = Field(
        [],
        description="files of the program, relative to the sweep file, with * and **; hashed into the trial's id and "
        "copied to the machine that runs it",
    )
    reads: list[str] = Field(
        [],
        description="data that the program reads: files and folders, with * and **, relative to the data root; each "
        "result holds their fingerprint",
    )
    code_hash: str | None = Field(None, pattern=HASH, description="hash of the files of `code`; filled in")
    metrics: dict[Column, Literal["max", "min"]] = Field(
        min_length=1,
        description="columns that the program reports, each with its better direction: {val/psnr_db: max}",
    )
    other_columns: Literal["refuse", "ignore"] = Field(
        "refuse", description="what happens to columns of `val` and `test` that `metrics` does not have"
    )
    epochs: int = Field(1, ge=1, description="number of epochs, each with one record of the program")
    extend: bool = Field(
        False,
        description="true: no result depends on the total number of epochs, so a sweep with more epochs continues from "
        "the checkpoint; false: it starts again",
    )
    timeout: float | None = Field(3600.0, gt=0, description="longest time without a record, in seconds; null: no limit")
    grace: float = Field(
        30.0, ge=0, description="time that the program has to save its checkpoint and end after SIGTERM, in seconds"
    )
    parameters: dict[str, Any] = Field({}, description="parameters of the program; a sweep file has them in `base`")

    @classmethod
    def resolve(cls, config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
        """As for every task. Keys that are not fields become `parameters`; `code` is hashed.

        folder: the folder of the sweep file. Without it, `code_hash` is required if there is `code`.
        """
        own = {key: value for key, value in config.items() if key in cls.model_fields and key != SECTION}
        given = config.get(SECTION, {})
        others = {key: value for key, value in config.items() if key not in cls.model_fields}
        parameters = {**given, **others} if isinstance(given, dict) else given
        resolved = super().resolve({**own, SECTION: parameters}, folder)
        return {**resolved, "code_hash": code_hash(resolved, folder)}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of `base`, where every further key is a parameter of the program."""
        return {**super().json_schema(), "patternProperties": {f"^{_NAME.pattern}": {}}}

    @classmethod
    def complete(cls, resolved: dict[str, Any]) -> dict[str, Any]:
        """Check the parameters and placeholders. Parameters that are null are left out."""
        parameters = without_none(resolved[SECTION])
        for name, value in parameters.items():
            _check_parameter(name, value)
        complete = {**resolved, SECTION: parameters}
        _check_run(complete)
        return complete

    @classmethod
    def identity(cls, resolved: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """What the program can see, its files, and the columns that are kept; `epochs` unless `extend` is set."""
        parts = {key: resolved[key] for key in ("run", "code_hash", SECTION)}
        parts["shell"] = resolved["shell"] or None
        parts["epochs"] = None if resolved["extend"] else resolved["epochs"]
        return {"seed": seed, "columns": sorted(resolved["metrics"]), **without_none(parts)}

    @classmethod
    def data_paths(cls, resolved: Mapping[str, Any]) -> Iterator[DataPath]:
        """What the program reads below the data root; plans of earlier versions do not say."""
        yield from of_patterns(resolved.get("reads") or ())

    @classmethod
    def code_of(cls, resolved: Mapping[str, Any]) -> tuple[str, ...]:
        """The files of the program."""
        return (resolved["code_hash"],) if resolved["code_hash"] else ()


def code_hash(resolved: Mapping[str, Any], folder: Path | None) -> str | None:
    """The hash of the program's files, which are written to the cache of this machine; None without `code`."""
    patterns, run = resolved["code"], resolved["run"]
    if folder is not None:
        found = files.find(patterns, folder)
        _check_covered(run if isinstance(run, list) else [], found, folder)
        return files.keep(found, folder) if patterns else None
    if patterns and resolved["code_hash"] is None:
        raise TrialError(
            f"code: {patterns}",
            "the folder of the sweep file is not known, so its files cannot be found",
            "a sweep that is read from a file",
            "sweeps run FILE",
            "code",
        )
    known: str | None = resolved["code_hash"]
    return known if patterns else None


def _check_covered(run: Sequence[Any], found: Sequence[str], folder: Path) -> None:
    """Raise TrialError if an argument is a file beside the sweep file that `code` leaves out."""
    for argument, name in files.left_out(run, found, folder):
        raise TrialError(
            f"run: {argument}",
            "this file lies beside the sweep file, but `code` does not contain it, so the program would not see it",
            "files that `code` contains" + (f": {', '.join(found[:8])}" if found else ""),
            f"code: [{name}]",
            "code",
        )


def _check_parameter(name: str, value: Any, path: str = "") -> None:
    key = path + str(name)
    if not path and name in BUILT_IN:
        raise TrialError(
            f"{key}: {value!r}"[:200],
            f"{{{name}}} is set by the trial: {BUILT_IN[name]}",
            "parameters with other names",
            f"rename it, for example to my_{name}",
            key,
        )
    if not isinstance(name, str) or not _NAME.match(name):
        allowed = "lower-case letters, digits and _, beginning with a letter"
        raise TrialError(
            f"{key}: {value!r}"[:200], "this is no name of a parameter", allowed, "learning_rate: 0.1", key
        )
    if isinstance(value, dict):
        for inner, item in value.items():
            _check_parameter(inner, item, f"{key}.")
    elif not all(map(_is_plain, value if isinstance(value, list) else [value])):
        raise TrialError(
            f"{key}: {value!r}"[:200],
            "a parameter cannot have this value",
            "finite numbers, text, true and false, lists of these, and mappings",
            f"change `{key}`",
            key,
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, int)) and "\0" not in str(value)


def _check_run(resolved: Mapping[str, Any]) -> None:
    run = resolved["run"]
    if isinstance(run, str) != resolved["shell"]:
        is_text = isinstance(run, str)
        raise TrialError(
            f"run: {run!r}"[:200],
            "it is text, which only a shell can interpret"
            if is_text
            else "it is a list, but `shell: true` requires text",
            "a list of arguments, or one line of text with `shell: true`",
            "shell: true, or run: [python, train.py, ...]" if is_text else "remove `shell`",
            "run",
        )
    texts: list[str] = [run] if isinstance(run, str) else [str(part) for part in run]
    if not texts[0].strip() or any("\0" in text for text in texts):
        raise TrialError(f"run: {run!r}", "it names no program", "a program and its arguments", "run: [./train]", "run")
    for text in texts:
        for name in placeholders(text):
            _check_placeholder(text, name, resolved[SECTION])


def _check_placeholder(text: str, name: str, parameters: Mapping[str, Any]) -> None:
    value: Any = parameters
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if name not in BUILT_IN and (value is None or isinstance(value, dict)):
        raise TrialError(
            f"run: {text}",
            f"{{{name}}} stands for the parameter `{name}`, which `base` does not have",
            ", ".join([*parameters, *BUILT_IN]),
            f"add `{name}:` to `base`, or write {{{{{name}}}}} for braces",
            "run",
        )
    if isinstance(value, list) and text != f"{{{name}}}" and " " not in text.strip():
        raise TrialError(
            f"run: {text}",
            f"`{name}` is a list, and becomes several arguments",
            f"an argument that is {{{name}}} alone",
            f'[..., --{name}, "{{{name}}}"]',
            "run",
        )
