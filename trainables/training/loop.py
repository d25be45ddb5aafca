"""The one training loop. What is learned is the task's, where it runs is the session's; here is the order of things.

An epoch is: train, evaluate on validation (and test where asked), checkpoint, result after the last one, report. The
report comes last because a scheduler may end the trial inside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables.training import checkpoint
from trainables.training.distributed import Workers
from trainables.training.session import Goal, Machine, Row, Session, Stopped

NOT_FINITE_EVERY = 50
"""Steps between two looks at the device-side flag that says a loss was not finite."""


class Diverged(RuntimeError):  # noqa: N818 - what happened, as the record calls it
    """A loss became NaN or infinite; the message names the epoch and the first bad step."""


class Learner(Protocol):
    """What is trained: networks, optimisers and whatever else a step changes."""

    parameters: int
    """How many numbers the network has that is used afterwards; a discriminator's do not count."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact continuation needs; tensors and plain data only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    def weights(self) -> dict[str, Tensor]:
        """The weights alone, for using the trained network."""


class Task(Protocol):
    """How a trial learns: some functions and the column that says which epoch is the best. A module is one."""

    BEST: tuple[str, str]

    def checks(self, config: Mapping[str, Any]) -> list[tuple[Callable[[Any, Path | None], Any], Any]]:
        """What a driver looks at before its trials start: (function, what of the configuration it takes).

        The function takes the data root as well, and raises TrialError where a trial would.
        """

    def load(self, config: Mapping[str, Any], machine: Machine) -> Any:
        """The data, on the device."""

    def build(self, config: Mapping[str, Any], data: Any, machine: Machine) -> Learner:
        """A fresh learner, initialised from the configuration's seed alone."""

    def train(
        self, learner: Any, config: Mapping[str, Any], data: Any, epoch: int
    ) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """One epoch: after each step its number of images and its loss terms (`loss` is the sum), on the device.

        The images are those of all workers; of the terms, the mean over the workers is meant.
        """

    def evaluate(self, learner: Any, data: Any, split: str) -> dict[str, float]:
        """The metrics of a split, 'val' or 'test', the same on all workers; draws nothing that depends on the seed."""

    def check_extra(self, data: Any, names: Sequence[str]) -> None:
        """Raise TrialError where `extra` could not score by these names: before the training, not after it."""

    def extra(self, learner: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
        """What `Goal.extra` asks for, of the whole test split."""

    def samples(self, learner: Any, data: Any) -> dict[str, bytes]:
        """The same fixed test images for every arm, as PNG files."""

    def final_files(self, learner: Any, data: Any) -> dict[str, bytes]:
        """What is kept beside the last epoch's samples: each test image's values, pictures of the worst ones."""


def task_named(name: str) -> Task:
    """The task in `trainables/<name>/task.py`."""
    module: Task = importlib.import_module(f"trainables.{name}.task")
    return module


def derive(*parts: int | str) -> int:
    """A seed of 63 bits from a name, e.g. `derive(seed, "masks", epoch)`: equal parts, equal draws, on any machine."""
    text = json.dumps(parts).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive(*parts)`: draws are moved to the device, hence equal on all devices."""
    return torch.Generator().manual_seed(derive(*parts))


def fit(task: Task, config: Mapping[str, Any], session: Session) -> None:
    """Train one trial to its target epoch, from its newest checkpoint if it has one.

    config: a resolved configuration (`trainables.schema.resolve`) with the trial's `seed`.
    Raises Diverged when a loss is not finite, Stopped when the session asked for the end, TrialError for the user's
    mistakes (data that is missing, say). Global state (thread count, random state) is as before when it returns.
    Of several workers, each calls this: they compute the same records, and worker 0 has what is to be written.
    """
    workers = session.machine.workers
    if session.machine.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(session.machine.device)  # of the trial before, in a reused process
    with _threads(session.machine.cpus), _random_state(session.machine.device):
        data = workers.together(lambda: task.load(config, session.machine))
        learner = task.build(config, data, session.machine)
        history, best = _restore(learner, session)
        goal = session.goal
        if goal.extra:
            workers.together(lambda: task.check_extra(data, goal.extra))
        if not goal.epochs:  # nothing to train: one evaluation says it all
            history = [_evaluate(task, learner, data, {"epoch": 0}, ("val", "test"))]
        for epoch in range(len(history) + 1, goal.epochs + 1):
            row, best = _epoch(task, learner, config, data, epoch, history, best, session)
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
        _finish(task, learner, data, history, best, session)
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
    """One epoch's record, and the weights of the best epoch so far where that is not this one."""
    started = session.clock()
    workers = session.machine.workers
    # For layers that draw, such as dropout: other draws for other workers.
    torch.manual_seed(derive(config["seed"], "noise", epoch, *([workers.rank] if workers.rank else [])))
    row: Row = {"epoch": epoch}
    images, terms = _train(task, learner, config, data, epoch, workers)
    trained = session.clock()
    row.update({f"train/{name}": value for name, value in terms.items()})
    row = _evaluate(task, learner, data, row, ("val",))
    goal = session.goal
    improved = _improves(row, history, task.BEST)
    tests = epoch == goal.epochs or epoch in goal.test_epochs or (goal.best and _improves(row, history, goal.best))
    if tests:
        row = _evaluate(task, learner, data, row, ("test",))
    _check_row(row)
    if improved:
        best = {name: tensor.detach().clone() for name, tensor in learner.weights().items()}
    row["sys/time_s"] = session.clock() - started
    row["sys/images_per_s"] = images / max(trained - started, 1e-9)
    row["sys/peak_memory_mb"] = workers.max(_peak_memory_mb(session.machine.device))
    return row, best


def _train(
    task: Task, learner: Learner, config: Mapping[str, Any], data: Any, epoch: int, workers: Workers
) -> tuple[int, dict[str, float]]:
    """Train one epoch; the number of images and the loss terms' means over images. One synchronisation an epoch."""
    images = 0
    totals: dict[str, Tensor] = {}
    flag: Tensor | None = None
    step = 0
    for step, (count, terms) in enumerate(task.train(learner, config, data, epoch), 1):
        images += count
        for name, value in terms.items():
            totals[name] = totals[name].add_(value, alpha=count) if name in totals else value.double() * count
        loss = terms["loss"]
        bad = torch.where(torch.isfinite(loss), 0, step)
        flag = bad if flag is None else torch.where(flag > 0, flag, bad)
        if step % NOT_FINITE_EVERY == 0:
            _check_finite(flag, epoch, step, workers)
    _check_finite(flag, epoch, step, workers)
    if workers.size > 1 and totals:
        sums = workers.sum(torch.stack(list(totals.values()))) / workers.size
        totals = dict(zip(totals, sums, strict=True))
    return images, {name: float(total) / images for name, total in totals.items()}


def _check_finite(flag: Tensor | None, epoch: int, step: int, workers: Workers) -> None:
    """flag: the first bad step of this worker, 0 for none; the earliest of all workers is told by all."""
    if flag is not None and workers.size > 1:
        flag = workers.least(torch.where(flag > 0, flag, step + 1)) % (step + 1)
    if flag is not None and int(flag):
        raise Diverged(f"the loss is not finite: first at epoch {epoch}, step {int(flag)} (noticed at step {step})")


def _check_row(row: Row) -> None:
    """The last step of an epoch can break the network after its loss was taken: then the evaluation shows it."""
    bad = next((name for name, value in row.items() if not math.isfinite(value)), None)
    if bad is not None:
        raise Diverged(f"{bad} is not finite after epoch {row['epoch']}, though every loss was: the last step broke it")


def _evaluate(task: Task, learner: Learner, data: Any, row: Row, splits: tuple[str, ...]) -> Row:
    for split in splits:
        row = {**row, **{f"{split}/{name}": value for name, value in task.evaluate(learner, data, split).items()}}
    return row


def _improves(row: Row, history: list[Row], best: tuple[str, str]) -> bool:
    """Whether a record is strictly better than all before it; a column that it lacks improves nothing."""
    column, goal = best
    if column not in row:
        return False
    sign = 1 if goal == "max" else -1
    return all(sign * row[column] > sign * earlier[column] for earlier in history if column in earlier)


def _restore(learner: Learner, session: Session) -> tuple[list[Row], dict[str, Tensor] | None]:
    restored = session.restore() if session.goal.epochs else None
    if restored is None:
        return [], None
    state, history, best = checkpoint.unpack(restored.files)
    learner.load_state_dict(state)
    return history, best


def _save(learner: Learner, history: list[Row], best: dict[str, Tensor] | None, session: Session) -> None:
    leads = session.machine.workers.leads
    session.save(int(history[-1]["epoch"]), checkpoint.pack(learner.state_dict(), history, best) if leads else {})


def _finish(
    task: Task, learner: Learner, data: Any, history: list[Row], best: dict[str, Tensor] | None, session: Session
) -> None:
    """Final evaluation, checkpoint, samples and result. A trial that was killed in here does just this again."""
    last = history[-1]
    if not any(name.startswith("test/") for name in last):  # the target was lowered to an epoch reached earlier
        history[-1] = last = _evaluate(task, learner, data, last, ("test",))
    if session.goal.extra:
        found = task.extra(learner, data, session.goal.extra)
        history[-1] = last = {**last, **{f"test/{name}": value for name, value in found.items()}}
    if session.goal.epochs:
        _save(learner, history, best, session)
    leads = session.machine.workers.leads
    files = {**task.samples(learner, data), **task.final_files(learner, data)} if leads else {}
    session.samples(int(last["epoch"]), files)
    session.finish(history, {"parameters": learner.parameters, "data_fingerprint": data.fingerprint})


def _shows_samples(epoch: int, goal: Goal) -> bool:
    """After epochs 1, 2, 4, 8, ..., and where the test split is evaluated."""
    return epoch & (epoch - 1) == 0 or epoch in goal.test_epochs


def _peak_memory_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, but bytes on macOS
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
def _random_state(device: str) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        yield
