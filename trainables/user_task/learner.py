"""Runs a user's task in the training loop, which takes one record after the other from the user's function."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from trainables.code import references
from trainables.command import task as command
from trainables.command.pictures import with_strip
from trainables.command.records import Record, columns_of
from trainables.config.code_checks import described
from trainables.config.messages import no_fills_error
from trainables.config.variant import options
from trainables.data.fingerprints import check_reads
from trainables.errors import TrialError
from trainables.registry import Code
from trainables.training.checkpoint import not_plain
from trainables.training.session import Machine
from trainables.training.terms import Terms
from trainables.user_task.context import Context

RECORD = 'one dict for each epoch: {"train/loss": 0.3, "val/accuracy": 0.8, "test/accuracy": 0.7}'


class FunctionLearner:
    """Runs the user's function up to the next record, whenever the loop asks for an epoch."""

    def __init__(self, code: Code, config: Mapping[str, Any], machine: Machine) -> None:
        self._code, self._config, self._machine = code, config, machine
        self._restored: Mapping[str, Any] | None = None
        self._records: Iterator[Any] | None = None
        self.context: Context | None = None
        """None before the first epoch."""
        self.record: Record | None = None
        """The record of the current epoch."""

    @property
    def parameters(self) -> int:
        """Number of parameters of the networks that are kept."""
        if self.context is None:  # the trial was killed after its last epoch
            return int(self._restored["parameters"]) if self._restored else 0
        networks = self.context.networks().values()
        return sum(one.numel() for network in networks for one in network.parameters())

    def advance(self, epoch: int) -> Record:
        """The record of an epoch. Raises TrialError for a record that is wrong, late or missing, Diverged for NaN."""
        if self._records is None:
            self._records = self._start()
            assert self.context is not None
            for earlier in range(self.context.epoch + 1, epoch):  # nothing was kept: they are trained again
                self._next(self._records, self.context, earlier)
        assert self.context is not None
        self.record = self._next(self._records, self.context, epoch)
        return self.record

    def _next(self, records: Iterator[Any], context: Context, epoch: int) -> Record:
        try:
            values = next(records)
        except StopIteration:
            raise self._error(
                f"it ended after {epoch - 1} of {context.last_epoch} epochs",
                RECORD,
                "yield a record at the end of each step of `for epoch in context.epochs:`",
            ) from None
        if context.epoch != epoch:
            why = f"it yielded a second record for epoch {context.epoch}"
            if context.epoch > epoch:
                why = f"it yielded no record for epoch {epoch}"
            elif not context.epoch:
                why = "it yielded a record without taking an epoch"
            raise self._error(
                why,
                "one record in each step of `for epoch in context.epochs:`",
                "loop over context.epochs, which continues after a checkpoint, and yield once in each step",
            )
        return Record(epoch, columns_of(self._plain(values, epoch), epoch, self._config["metrics"]), None)

    def _start(self) -> Iterator[Any]:
        """Call the function; nothing of it runs before the first record is asked for."""
        _restore_draws(self._machine)
        restored = self._restored if self._restored and self._restored["kept"] else None
        self.context = Context(self._config, self._machine, restored)
        chosen = options(self._code.config.options_class, self._config["parameters"])
        given = {"config": chosen} if "config" in self._code.inputs else dict(chosen)
        records: Iterator[Any] = self._code.function()(context=self.context, **given)
        self._machine.resources.callback(records.close)  # type: ignore[attr-defined]
        return records

    def _plain(self, values: Any, epoch: int) -> dict[str, Any]:
        """A record with numbers in place of tensors and arrays with one element."""
        if not isinstance(values, Mapping) or not all(isinstance(column, str) for column in values):
            raise self._error(f"it yielded {values!r} in epoch {epoch}"[:200], RECORD, "yield a dict")
        record = {column: _number(value) for column, value in values.items()}
        if record.pop("epoch", epoch) != epoch:
            raise self._error(f"its record of epoch {epoch} says epoch {values['epoch']}", RECORD, "leave out `epoch`")
        return record

    def _error(self, why: str, allowed: str, fix: str) -> TrialError:
        return TrialError(f"task {described(self._code.function())}", why, allowed, fix, "task")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        if self.context is None:
            return dict(self._restored or {"epoch": 0, "kept": {}, "parameters": 0})
        state = {**self.context.state(), "parameters": self.parameters}
        for path, value in not_plain(state["kept"]):
            raise self._error(
                f"it keeps{path}, which is of type {type(value).__name__}: a checkpoint cannot store it",
                "tensors, numbers, text, None, and dicts, lists and tuples of them",
                "store it as a tensor or as plain data, or make it from the options",
            )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep the state until the function runs and calls `context.keep` with the objects to restore."""
        self._restored = state

    def inference_weights(self) -> dict[str, Tensor]:
        networks = self.context.networks() if self.context else {}
        return {f"{name}.{key}": value for name, one in networks.items() for key, value in one.state_dict().items()}


def _number(value: Any) -> Any:
    """The number in a tensor or array with one element; anything else as it is."""
    size = getattr(value, "numel", None)
    count = size() if callable(size) else getattr(value, "size", None)
    return value.item() if count == 1 and hasattr(value, "item") else value


def _restore_draws(machine: Machine) -> None:
    """Restore the random states of `random` and numpy when the trial ends; `fit` restores that of torch."""
    machine.resources.callback(random.setstate, random.getstate())
    machine.resources.callback(np.random.set_state, np.random.get_state())


class UserTask:
    """The task of a user's function, for `trainables.training.loop.fit`."""

    def __init__(self, code: Code) -> None:
        self._code = code
        columns = code.config.columns
        best = next((column for column in columns if column.startswith("val/")), "")
        self.BEST = (best, columns.get(best, "max"))

    def checks(self, config: Mapping[str, Any]) -> list[Any]:
        """Whether the data is there."""
        return [(check_reads, config["reads"])]

    def load(self, config: Mapping[str, Any], machine: Machine) -> command.ProgramData:
        if machine.workers.size > 1:
            raise TrialError(
                f"resources.workers: {machine.workers.size}",
                "a user's task trains in one process",
                "1; several GPUs by resources.gpus, which torch sees",
                f"resources: {{workers: 1, gpus: {machine.workers.size}}}",
            )
        check_reads(config["reads"], machine.data_root)
        return command.ProgramData(tuple(config["metrics"]))

    def build(self, config: Mapping[str, Any], data: Any, machine: Machine) -> FunctionLearner:
        return FunctionLearner(self._code, config, machine)

    def train(self, learner: Any, config: Mapping[str, Any], data: Any, epoch: int) -> Iterator[tuple[int, Terms]]:
        return command.train(learner, config, data, epoch)

    def evaluate(self, learner: Any, data: Any, split: str) -> dict[str, float]:
        return command.evaluate(learner, data, split)

    def check_extra(self, data: Any, names: Sequence[str]) -> None:
        if names:
            raise no_fills_error(references.label(self._code.name), names)

    def extra(self, learner: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
        return {}

    def samples(self, learner: Any, data: Any) -> dict[str, bytes]:
        return with_strip(learner.context.pictures) if learner.context else {}

    def facts(self, learner: Any, data: Any) -> dict[str, Any]:
        return {}

    def final_files(self, learner: Any, data: Any) -> dict[str, bytes]:
        return {}
