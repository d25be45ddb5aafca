"""The training loop of all tasks. The task defines what is trained, the session where it runs.

An epoch: train, evaluate on validation (and on test if requested), save a checkpoint, write the result after the last
epoch, report. The report comes last because a scheduler may end the trial inside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables import registry
from trainables.training import checkpoint
from trainables.training.distributed import Workers
from trainables.training.divergence import NOT_FINITE_EVERY, Diverged
from trainables.training.session import Goal, Machine, Row, Session, Stopped
from trainables.training.terms import Terms, TermTotals


class Learner(Protocol):
    """Everything that a training step changes: networks, optimisers and so on."""

    parameters: int
    """Number of parameters of the trained network; those of discriminators do not count."""

    def state_dict(self) -> dict[str, Any]:
        """The complete state for a bit-exact continuation; tensors and plain data only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    def inference_weights(self) -> dict[str, Tensor]:
        """The weights of the trained network alone."""


class Task(Protocol):
    """How a trial trains and evaluates. The module `trainables/<task>/task.py` implements this protocol."""

    BEST: tuple[str, str]
    """The validation column that decides which epoch is best, and 'max' or 'min'."""

    def checks(self, config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
        """Checks that a driver makes before its trials start: (function, part of the configuration) pairs.

        The function is called with that part and the data root, and raises the TrialError that a trial would raise.
        """

    def load(self, config: Mapping[str, Any], machine: Machine) -> Any:
        """The data, on the device."""

    def build(self, config: Mapping[str, Any], data: Any, machine: Machine) -> Learner:
        """A new learner, initialised from the configuration's seed alone."""

    def train(self, learner: Any, config: Mapping[str, Any], data: Any, epoch: int) -> Iterator[tuple[int, Terms]]:
        """Train one epoch; yields the number of images of the whole batch and the loss terms of each step.

        A term is (sum, count), see `trainables.training.terms`: the recorded value is the sum over steps and workers,
        divided by that of the counts. The term `loss` is the total, which is checked for NaN in every step.
        """

    def evaluate(self, learner: Any, data: Any, split: str) -> dict[str, float]:
        """The metrics of a split, 'val' or 'test', equal on all workers. Its random draws do not depend on the seed."""

    def check_extra(self, data: Any, names: Sequence[str]) -> None:
        """Raise TrialError before training if `extra` cannot compute these metrics."""

    def extra(self, learner: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
        """The metrics that only the last epoch has: those that `Goal.extra` lists, over the whole test split, and those
        of a protocol. If `data.protocol` is not None, the last epoch has been saved before, and Stopped may be raised:
        the next attempt then calls this function again, without training."""

    def samples(self, learner: Any, data: Any) -> dict[str, bytes]:
        """The same fixed test images for every arm, as PNG files."""

    def facts(self, learner: Any, data: Any) -> dict[str, Any]:
        """What a result says of its values, as plain data, beside the columns; called after `extra`."""

    def final_files(self, learner: Any, data: Any) -> dict[str, bytes]:
        """Files stored with the last epoch's samples: per-image values of the test split, pictures of the worst."""


def task_named(name: str) -> Task:
    """The task in `trainables/<name>/task.py`, or a user's."""
    task: Task = registry.find("task", name).load()
    return task


def derive(*parts: int | str) -> int:
    """A seed of 63 bits, e.g. `derive(seed, "masks", epoch)`: equal parts give equal seeds on any machine."""
    text = json.dumps(parts).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A generator seeded with `derive(*parts)`, on the CPU so that the draws are equal for all devices."""
    return torch.Generator().manual_seed(derive(*parts))


def fit(task: Task, config: Mapping[str, Any], session: Session) -> None:
    """Train one trial to its target epoch, from its newest checkpoint if it has one.

    A task that raises Stopped within an epoch is saved as after the epoch before it.

    config: a resolved configuration (`trainables.schema.resolve`) with the trial's `seed`.

    Raises Diverged if a loss is not finite, Stopped if the session asked to stop, and TrialError for mistakes of the
    user, such as missing data. Global state (thread count, random state) is restored on return. With several workers,
    each calls `fit`: all compute the same records, and worker 0 provides the files to write.
    """
    workers = session.machine.workers
    if session.machine.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(session.machine.device)  # a reused process has those of earlier trials
    with (
        _threads(session.machine.cpus),
        _random_state(session.machine.device),
        _fastest_convolutions(session.machine.device),
        contextlib.ExitStack() as resources,
    ):
        machine = dataclasses.replace(session.machine, resources=resources, stopping=session.should_stop)
        data = workers.run_together(lambda: task.load(config, machine))
        learner = task.build(config, data, machine)
        history, best, final_files = _restore(learner, session)
        goal = session.goal
        if goal.extra:
            workers.run_together(lambda: task.check_extra(data, goal.extra))
        if not goal.epochs:  # nothing to train: evaluate once
            history = [_evaluate(task, learner, data, {"epoch": 0}, ("val", "test"))]
        if len(history) < goal.epochs and session.should_stop():  # asked while the data were loaded
            raise Stopped(f"after epoch {len(history)} of {goal.epochs}")
        for epoch in range(len(history) + 1, goal.epochs + 1):
            try:
                row, best = _epoch(task, learner, config, data, epoch, history, best, session)
            except Stopped:
                _save(learner, history, best, session)
                raise
            except Diverged as error:
                error.add_epochs(history)
                raise
            history.append(row)
            stopping = session.should_stop()
            if epoch < goal.epochs:
                if stopping or session.wants_checkpoint():
                    _save(learner, history, best, session)
                if _shows_samples(epoch, goal):
                    session.samples(epoch, task.samples(learner, data) if workers.leads else {})
                session.report(row)
                if stopping:
                    raise Stopped(f"after epoch {epoch} of {goal.epochs}")
        _finish(task, learner, data, history, best, final_files, session)
        session.report(history[-1])


def _epoch(
    task: Task,
    learner: Learner,
    config: Mapping[str, Any],
    data: Any,
    epoch: int,
    history: list[Row],
    best: dict[str, Tensor] | None,
    session: Session,
) -> tuple[Row, dict[str, Tensor] | None]:
    """The record of one epoch, and the weights of the best epoch so far."""
    started = session.clock()
    workers = session.machine.workers
    # For random layers such as dropout: each worker draws its own numbers.
    torch.manual_seed(derive(config["seed"], "noise", epoch, *([workers.rank] if workers.rank else [])))
    row: Row = {"epoch": epoch}
    images, totals = _train(task, learner, config, data, epoch, workers)
    terms = totals.means(workers)
    trained = session.clock()
    row.update({f"train/{name}": value for name, value in terms.items()})
    row = _evaluate(task, learner, data, row, ("val",))
    goal = session.goal
    improved = _improves(row, history, task.BEST)
    tests = epoch == goal.epochs or epoch in goal.test_epochs or (goal.best and _improves(row, history, goal.best))
    if tests:
        row = _evaluate(task, learner, data, row, ("test",))
    _check_row(row, totals, workers)
    if improved:
        best = {name: tensor.detach().clone() for name, tensor in learner.inference_weights().items()}
    row["sys/time_s"] = session.clock() - started
    if images:
        row["sys/images_per_s"] = images / max(trained - started, 1e-9)
    row["sys/peak_memory_mb"] = workers.max(_peak_memory_mb(session.machine.device))
    return row, best


def _train(
    task: Task, learner: Learner, config: Mapping[str, Any], data: Any, epoch: int, workers: Workers
) -> tuple[int, TermTotals]:
    """Train one epoch. Returns the number of images, and the loss terms."""
    images = step = 0
    totals = TermTotals()
    for step, (count, terms) in enumerate(task.train(learner, config, data, epoch), 1):
        images += count
        totals.add(terms)
        if step % NOT_FINITE_EVERY == 0:
            _check_finite(totals, epoch, step, workers)
    _check_finite(totals, epoch, step, workers)
    return images, totals


def _check_finite(totals: TermTotals, epoch: int, step: int, workers: Workers) -> None:
    """Raise Diverged if a loss of any worker was not finite; all workers name the earliest such step."""
    first = totals.first_bad_step(step, workers)
    if first is not None:
        raise Diverged(
            f"the loss is not finite: first at epoch {epoch}, step {first} (noticed at step {step})",
            totals.recent.trace(epoch, first, workers),
        )


def _check_row(row: Row, totals: TermTotals, workers: Workers) -> None:
    """Raise Diverged if a value is not finite: the last step of an epoch can break the network after its loss."""
    bad = next((name for name, value in row.items() if not math.isfinite(value)), None)
    if bad is not None:
        raise Diverged(
            f"{bad} is not finite after epoch {row['epoch']}, although every loss was finite: "
            "the last step of the epoch broke the network",
            totals.recent.trace(int(row["epoch"]), None, workers),
        )


def _evaluate(task: Task, learner: Learner, data: Any, row: Row, splits: tuple[str, ...]) -> Row:
    for split in splits:
        row = {**row, **{f"{split}/{name}": value for name, value in task.evaluate(learner, data, split).items()}}
    return row


def _improves(row: Row, history: list[Row], best: tuple[str, str]) -> bool:
    """Whether a record is strictly better than all earlier ones; False if it lacks the column."""
    column, goal = best
    if column not in row:
        return False
    sign = 1 if goal == "max" else -1
    return all(sign * row[column] > sign * earlier[column] for earlier in history if column in earlier)


def _restore(learner: Learner, session: Session) -> tuple[list[Row], dict[str, Tensor] | None, Mapping[str, bytes]]:
    """The history, the best weights and, if only the rating by a protocol is missing, the final files of the task."""
    restored = session.restore() if session.goal.epochs else None
    if restored is None:
        return [], None, {}
    state, history, best = checkpoint.unpack(restored.files)
    session.machine.workers.run_together(lambda: checkpoint.load_state(learner, state, restored.epoch))
    final_files = checkpoint.final_files(restored.files) if restored.epoch == session.goal.epochs else {}
    return history, best, final_files


def _save(
    learner: Learner,
    history: list[Row],
    best: dict[str, Tensor] | None,
    session: Session,
    final_files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    leads = session.machine.workers.leads
    epoch = int(history[-1]["epoch"]) if history else 0
    session.save(epoch, checkpoint.pack(learner.state_dict(), history, best, final_files) if leads else {})


def _finish(
    task: Task,
    learner: Learner,
    data: Any,
    history: list[Row],
    best: dict[str, Tensor] | None,
    final_files: Mapping[str, bytes],
    session: Session,
) -> None:
    """Final evaluation, checkpoint, samples and result.

    A trial that is stopped or killed while a protocol rates it repeats only this function. Without a protocol, one that
    is killed before the checkpoint is written trains again from the one before.

    final_files: of an earlier attempt, if the trial resumes here.
    """
    last = history[-1]
    leads = session.machine.workers.leads
    if not any(name.startswith("test/") for name in last):  # the target was lowered to an earlier epoch
        history[-1] = last = _evaluate(task, learner, data, last, ("test",))
    rated_later = getattr(data, "protocol", None) is not None and session.goal.epochs  # takes minutes
    if rated_later:
        final_files = final_files or (task.final_files(learner, data) if leads else {})
        _save(learner, history, best, session, final_files)
    scores = task.extra(learner, data, session.goal.extra)
    history[-1] = last = {**last, **{f"test/{name}": value for name, value in scores.items()}}
    if session.goal.epochs:
        _save(learner, history, best, session, final_files)
    files = {**task.samples(learner, data), **(final_files or task.final_files(learner, data))} if leads else {}
    session.samples(int(last["epoch"]), files)
    facts = {"parameters": learner.parameters, "data_fingerprint": data.fingerprint, **task.facts(learner, data)}
    session.finish(history, facts)


def _shows_samples(epoch: int, goal: Goal) -> bool:
    """True after epochs 1, 2, 4, 8, ... and after the epochs of `goal.test_epochs`."""
    return epoch & (epoch - 1) == 0 or epoch in goal.test_epochs


def _peak_memory_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on macOS in bytes
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@contextlib.contextmanager
def _threads(cpus: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _fastest_convolutions(device: str) -> Iterator[None]:
    """On a GPU, let cuDNN time its algorithms for each shape once; the shapes of a trial are few and fixed."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.startswith("cuda")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def _random_state(device: str) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        yield
