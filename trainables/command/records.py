"""Records of a program: lines of JSON, `{"epoch": 1, "train/loss": 0.3, "val/psnr_db": 21.4}`, one for each epoch."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import TrialError
from trainables.training.divergence import Diverged

MARKER = "@sweeps "
"""Begins a line of the program's output that is a record."""
LONGEST = 1 << 20
"""Bytes of the longest line that is read as a record."""
PARAMETERS = "parameters"
"""Key of a record with the number of trained parameters."""
_TRAIN = re.compile(r"train/[a-z][a-z0-9_]*$")
_EVALUATED = re.compile(r"(val|test)/")


@dataclass(frozen=True)
class Record:
    """What a program reported of one epoch."""

    epoch: int
    values: Mapping[str, float]
    """By column."""
    parameters: int | None
    """Number of trained parameters, if the program tells it."""


def parse(text: str, metrics: Mapping[str, str], ignore_others: bool = False) -> Record:
    """A record. Raises TrialError for a line that is none, and Diverged for a value that is not finite.

    metrics: the columns of `val` and `test` that the program may report; those of `train` are free.
    ignore_others: leave out other columns of `val` and `test`, which are refused otherwise.
    """
    body = _loaded(text)
    if ignore_others:
        body = {name: value for name, value in body.items() if name in metrics or not _EVALUATED.match(name)}
    epoch = body.pop("epoch")
    parameters = body.pop(PARAMETERS, None)
    if parameters is not None and not (_is_whole(parameters) and parameters >= 0):
        raise _wrong(f"{PARAMETERS}: {parameters!r} in the record of epoch {epoch}", "it is not a whole number from 0")
    return Record(epoch, columns_of(body, epoch, metrics), parameters)


def columns_of(body: Mapping[str, Any], epoch: int, metrics: Mapping[str, str]) -> dict[str, float]:
    """The columns of a record. Raises TrialError and Diverged as `parse` does."""
    for column, value in body.items():
        _check_column(column, epoch, metrics)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TrialError(
                f"{column}: {value!r} in the record of epoch {epoch}"[:200],
                "it is not a number",
                'numbers by column: {"train/loss": 0.3, "val/psnr_db": 21.4}',
                "correct the value, or leave the column out",
            )
        if not math.isfinite(value):
            error = TrialError(
                f"{column}: {value} in the record of epoch {epoch}",
                "it is not finite",
                "finite numbers",
                "if the training diverged, lower the learning rate; leave out columns that have no value",
            )
            raise Diverged(str(error))
    return {column: float(value) for column, value in body.items()}


def _loaded(text: str) -> dict[str, Any]:
    given = f"record {text!r}"[:200]
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong(given, "it is not a line of JSON") from None
    if not isinstance(body, dict) or not _is_whole(body.get("epoch")) or body["epoch"] < 1:
        raise _wrong(given, "it has no `epoch` that is a whole number from 1 on")
    return body


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_column(column: str, epoch: int, metrics: Mapping[str, str]) -> None:
    if column not in metrics and not _TRAIN.match(column):
        raise TrialError(
            f"column {column!r} in the record of epoch {epoch}",
            "`metrics` does not have it",
            ", ".join(metrics) + ", and train/NAME for every NAME",
            f"add {{{column}: max}} or {{{column}: min}} to `metrics`"
            if column.startswith(("val/", "test/"))
            else "rename the column, or leave it out",
            "metrics",
        )


def _wrong(given: str, why: str) -> TrialError:
    allowed = 'one line of JSON for each epoch: {"epoch": 1, "train/loss": 0.3, "val/psnr_db": 21.4}'
    return TrialError(given, why, allowed, "correct what the program writes; see docs/command.md")


class RecordFile:
    """The lines that a program has appended to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""
        self.changed_ns = 0
        """Time of the last change that has been read, in ns since 1970."""
        path.touch()

    def read(self, ended: bool = False) -> list[str]:
        """The complete lines since the last call. ended: the program has ended, so the last line is complete."""
        lines = []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(LONGEST):
                self._offset += len(chunk)
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                lines += whole
                if len(self._rest) > LONGEST:
                    raise _wrong(f"record of more than {LONGEST:,} bytes", "it is too long for a record")
                self.changed_ns = self._path.stat().st_mtime_ns
        if ended and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [text for line in lines if (text := line.decode(errors="replace").strip())]


class Sequence:
    """Gives the records of a trial in the order of their epochs, whichever process of the program wrote them.

    A program that resumes may report again what is known: it continues from its own checkpoint, which can be older than
    the last record.
    """

    def __init__(
        self, metrics: Mapping[str, str], restored: list[str], resumes: bool, ignore_others: bool = False
    ) -> None:
        """restored: records that were read, but not used, before the checkpoint was stored.

        metrics, ignore_others: see `parse`. resumes: whether the program got a checkpoint back, so that its first
        record can be of any epoch.
        """
        self._metrics, self._ignore_others = metrics, ignore_others
        self._waiting: deque[tuple[str, bool]] = deque((text, False) for text in restored)
        self._last = None if resumes else 0

    def add(self, lines: list[str]) -> None:
        """Add records that the running program wrote."""
        self._waiting.extend((text, True) for text in lines)

    def restart(self) -> None:
        """The program is started from its beginning."""
        self._waiting.clear()
        self._last = 0

    @property
    def waiting(self) -> list[str]:
        return [text for text, _ in self._waiting]

    def take(self, epoch: int) -> Record | None:
        """The record of an epoch; None if it has not been written. Raises TrialError for a record out of order."""
        while self._waiting:
            text, is_own = self._waiting.popleft()
            record = parse(text, self._metrics, self._ignore_others)
            if is_own:
                self._check_order(record.epoch)
                self._last = record.epoch
            if record.epoch == epoch:
                return record
            if record.epoch > epoch:
                raise GapError(
                    f"first record of epoch {record.epoch}",
                    f"after the checkpoint was given back, the record of epoch {epoch} is missing",
                    "a program that writes the checkpoint of an epoch before its record",
                    "write the checkpoint before the record",
                )
        return None

    def _check_order(self, epoch: int) -> None:
        if self._last is None or epoch == self._last + 1:
            return
        twice = epoch <= self._last
        raise TrialError(
            f"record of epoch {epoch}",
            f"the record before it was of epoch {self._last}" if self._last else "it is the first record",
            "one record for each epoch: 1, 2, 3, ...",
            "write all columns of an epoch as one record" if twice else "write a record for every epoch",
        )


class GapError(TrialError):
    """The first record of a program that was given a checkpoint is not the next one."""
