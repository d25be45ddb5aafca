"""Task `command`: run the user's own program, and follow the records that it writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables.code import cache
from trainables.command import files
from trainables.command.arguments import command_line, placeholders
from trainables.command.learner import SAMPLES, ProgramLearner
from trainables.command.pictures import with_strip
from trainables.command.program import check_program
from trainables.config.messages import no_fills_error
from trainables.data.fingerprints import check_reads
from trainables.data.listing import data_files
from trainables.errors import TrialError
from trainables.training.session import Machine
from trainables.training.terms import Terms

BEST = ("", "max")
"""No column: the program keeps its best weights itself."""
MOST_PICTURES, MOST_PICTURE_BYTES = 64, 20_000_000

__all__ = [
    "BEST",
    "build",
    "check_extra",
    "checks",
    "evaluate",
    "extra",
    "facts",
    "final_files",
    "load",
    "samples",
    "train",
]
"""Names that `trainables.training.loop.Task` requires of a module."""


@dataclass(frozen=True)
class ProgramData:
    """The columns of a program. Its data is its own."""

    metrics: tuple[str, ...]
    fingerprint: str = ""


def load(config: Mapping[str, Any], machine: Machine) -> ProgramData:
    if machine.workers.size > 1:
        raise TrialError(
            f"resources.workers: {machine.workers.size}",
            "a trial of task command is one program, which starts its own processes",
            "1; several GPUs by resources.gpus, which the program sees in CUDA_VISIBLE_DEVICES",
            f"resources: {{workers: 1, gpus: {machine.workers.size}}}",
        )
    check_reads(config.get("reads") or (), machine.data_root)
    return ProgramData(tuple(config["metrics"]))


def build(config: Mapping[str, Any], data: ProgramData, machine: Machine) -> ProgramLearner:  # noqa: ARG001
    return ProgramLearner(config, machine)


def train(
    learner: ProgramLearner,
    config: Mapping[str, Any],  # noqa: ARG001 - part of the task interface
    data: ProgramData,  # noqa: ARG001
    epoch: int,
) -> Iterator[tuple[int, Terms]]:
    """Wait for the program's record of this epoch; yields its columns of `train`."""
    values = learner.advance(epoch).values
    terms: Terms = {
        column.removeprefix("train/"): (torch.tensor(value, dtype=torch.float64), 1)
        for column, value in values.items()
        if column.startswith("train/")
    }
    if terms:
        yield 0, terms


def evaluate(learner: ProgramLearner, data: ProgramData, split: str) -> dict[str, float]:
    """The columns of a split in the program's record. Raises TrialError if one is missing."""
    record = learner.record
    columns = [column for column in data.metrics if column.startswith(f"{split}/")]
    if record is None:
        missing, epoch = columns, 0
    else:
        missing, epoch = [column for column in columns if column not in record.values], record.epoch
    if missing:
        tests = " after the last epoch and after those of report.test_epochs" if split == "test" else ""
        raise TrialError(
            f"record of epoch {epoch}" if epoch else "a lower number of epochs than were trained",
            f"it has no {missing[0]}",
            f"the columns of `metrics`{tests}: {', '.join(columns)}",
            f"let the program report {missing[0]}, or remove it from `metrics`",
            "metrics",
        )
    return {column.removeprefix(f"{split}/"): record.values[column] for column in columns} if record else {}


def checks(config: Mapping[str, Any]) -> list[Any]:
    """Whether the program and its data are there, as far as this machine can tell."""
    parts = ("run", "code_hash", "parameters")
    return [(_check_run, {key: config[key] for key in parts}), (check_reads, config["reads"])]


def _check_run(section: Mapping[str, Any], data_root: Path | None) -> None:  # noqa: ARG001 - part of the interface
    run, code = section["run"], section["code_hash"]
    if isinstance(run, str) or placeholders(str(run[0])):
        return  # a shell, or known when a trial runs
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    name = command_line([run[0]], {})[0]
    content = cache.kept_files(code).get(os.path.normpath(name), b"") if code and "/" in name else b""
    if files.is_program(content):
        return  # it becomes executable when it is copied
    check_program(name, cache.cache_folder() / (code or "."), {"PATH": path})


def check_extra(data: ProgramData, names: Sequence[str]) -> None:  # noqa: ARG001 - part of the task interface
    """Refuse metrics of fills: the program computes its own metrics."""
    if names:
        raise no_fills_error("command", names)


def extra(learner: ProgramLearner, data: ProgramData, names: Sequence[str]) -> dict[str, float]:  # noqa: ARG001
    """No further metrics."""
    return {}


def samples(learner: ProgramLearner, data: ProgramData) -> dict[str, bytes]:  # noqa: ARG001 - part of the task interface
    """The PNG files in the program's folder of samples, by name, and `pictures.STRIP`, which reports show."""
    return with_strip(_pictures(learner.out / SAMPLES))


def _pictures(folder: Path) -> dict[str, bytes]:
    pictures: dict[str, bytes] = {}
    for path in data_files(folder, deep=False):
        small = path.suffix == ".png" and path.stat().st_size <= MOST_PICTURE_BYTES
        if small and len(pictures) < MOST_PICTURES:
            pictures[path.name] = path.read_bytes()
    return pictures


def facts(learner: ProgramLearner, data: ProgramData) -> dict[str, Any]:  # noqa: ARG001 - part of the task interface
    """No further facts."""
    return {}


def final_files(learner: ProgramLearner, data: ProgramData) -> dict[str, bytes]:  # noqa: ARG001
    """No further files."""
    return {}
