"""Users' tasks as they train: records, checkpoints, random numbers, pictures, and records that are wrong."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables import schema
from trainables.errors import TrialError
from trainables.training.divergence import Diverged
from trainables.training.loop import fit, task_named
from trainables.training.session import Goal, Machine, MemorySession, Restored

Write = Callable[[dict[str, str]], Path]
NOISY = """
import random, numpy, torch
metrics = {"val/x": "max", "test/x": "max"}
extend = True

def train(context, width: int = 3):
    network = torch.nn.Linear(width, 1)
    optimiser = torch.optim.Adam(network.parameters(), 0.1)
    seen = {"draws": []}
    context.keep(network=network, optimiser=optimiser, seen=seen)
    for epoch in context.epochs:
        x = torch.rand(8, width, generator=context.generator("data", epoch))
        loss = (network(x) + torch.rand(1) + random.random() + numpy.random.rand()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen["draws"].append(loss.item())
        context.picture("x", x[None])
        yield {"train/loss": loss, "val/x": numpy.float64(sum(seen["draws"])), "test/x": epoch}
"""


def session_of(epochs: int, restored: MemorySession | None = None, **goal: Any) -> MemorySession:
    epoch = max(restored.saved) if restored else 0
    saved = Restored(epoch, restored.saved[epoch]) if restored else None
    return MemorySession(Goal(epochs, **goal), Machine("cpu"), saved)


def train(write: Write, text: str, session: MemorySession, **base: Any) -> list[dict[str, Any]]:
    """Train a task to the end; returns its records without the measures of the machine."""
    folder = write({"t.py": text})
    config = schema.resolve("./t.py", {**base, "epochs": session.goal.epochs}, folder)
    fit(task_named(config["user_code"]["./t.py"]), {**config, "seed": 5}, session)
    assert session.result is not None
    return [{key: value for key, value in row.items() if key[:4] != "sys/"} for row in session.result["history"]]


def test_a_trial_that_continues_reports_the_same_numbers(write: Write) -> None:
    whole = session_of(4)
    records = train(write, NOISY, whole)
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert [set(record) for record in records] == [{"epoch", "train/loss", "val/x"}] * 3 + [
        {"epoch", "train/loss", "val/x", "test/x"}
    ]
    first = session_of(2)
    half = train(write, NOISY, first)
    assert half[-1].pop("test/x") == 2
    assert half == records[:2]
    resumed = train(write, NOISY, session_of(4, first))
    assert [{**record, "test/x": None} for record in resumed] == [{**record, "test/x": None} for record in records]
    assert train(write, NOISY, session_of(4), width=4) != records


def test_a_trial_that_keeps_nothing_trains_its_epochs_again(write: Write) -> None:
    text = NOISY.replace("    context.keep(network=network, optimiser=optimiser, seen=seen)\n", "")
    assert "keep" not in text
    first = session_of(2)
    train(write, text, first)
    resumed = session_of(4, first)
    assert train(write, text, resumed)[2:] == train(write, text, session_of(4))[2:]
    assert [row["epoch"] for row in resumed.rows] == [3, 4]


def test_parameters_pictures_and_the_best_weights_are_kept(write: Write) -> None:
    session = session_of(2, test_epochs=(1,))
    records = train(write, NOISY, session)
    assert "test/x" in records[0]
    assert session.result is not None
    assert session.result["parameters"] == 4
    assert session.images[2]["x.png"].startswith(b"\x89PNG")
    assert "composite.png" in session.images[2]
    best = torch.load(io.BytesIO(session.saved[2]["best.pt"]), weights_only=True)
    assert set(best) == {"network.weight", "network.bias"}
    again = session_of(2, session)  # killed before its result was written
    assert train(write, NOISY, again) == records
    assert again.result is not None
    assert again.result["parameters"] == 4


def test_the_random_numbers_of_the_process_are_left_as_they_were(write: Write) -> None:
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    train(write, NOISY, session_of(1))
    assert (random.random(), np.random.rand()) == expected


def test_a_config_reaches_the_function_as_its_class(write: Write) -> None:
    text = """
metrics = {"val/x": "min"}
from pydantic import BaseModel
class Step(BaseModel):
    size: float = 0.5
class Config(BaseModel):
    step: Step = Step()
def train(config, context):
    for epoch in context.epochs:
        yield {"val/x": config.step.size * epoch}
"""
    assert [record["val/x"] for record in train(write, text, session_of(2), step={"size": 2.0})] == [2.0, 4.0]


def test_it_reads_only_data_that_is_there(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data" / "more").mkdir(parents=True)
    (tmp_path / "data" / "more" / "a.txt").write_text("3")
    text = """
metrics = {"val/x": "min"}
def train(context):
    for _ in context.epochs:
        yield {"val/x": float((context.data / "more" / "a.txt").read_text())}
"""
    session = session_of(1)
    session.machine = Machine("cpu", data_root=tmp_path / "data")
    assert train(write, text, session, reads=["more/*.txt"])[0]["val/x"] == 3
    with pytest.raises(TrialError, match=r"no file in .*data matches it"):
        train(write, text, session, reads=["more/*.csv"])


def body(*lines: str) -> str:
    text = "\n    ".join(lines)
    return f"import torch\nmetrics = {{'val/x': 'max', 'test/x': 'max'}}\ndef train(context):\n    {text}\n"


EACH = "for epoch in context.epochs:"
FULL = "yield {'val/x': 1, 'test/x': 1}"
WRONG: Mapping[str, tuple[str, ...]] = {
    "task train (t.py:3): it ended after 0 of 2 epochs": ("if False: yield",),
    "it ended after 1 of 2 epochs": (EACH, f"    {FULL}", "    return"),
    "it yielded a second record for epoch 1": (EACH, f"    {FULL}", f"    {FULL}"),
    "it yielded no record for epoch 1": (EACH, "    if epoch == 1: continue", f"    {FULL}"),
    "it yielded a record without taking an epoch": ("for _ in range(9):", f"    {FULL}"),
    "it yielded 3 in epoch 1": (EACH, "    yield 3"),
    "it yielded {1: 2} in epoch 1": (EACH, "    yield {1: 2}"),
    "its record of epoch 1 says epoch 7": (EACH, "    yield {'epoch': 7, 'val/x': 1}"),
    "column 'val/y' in the record of epoch 1: `metrics` does not have it": (EACH, "    yield {'val/x': 1, 'val/y': 1}"),
    "val/x: 'good' in the record of epoch 1: it is not a number": (EACH, "    yield {'val/x': 'good'}"),
    "val/x: True in the record of epoch 1: it is not a number": (EACH, "    yield {'val/x': True}"),
    "in the record of epoch 1: it is not a number": (EACH, "    yield {'val/x': torch.ones(2)}"),
    "record of epoch 1: it has no val/x": (EACH, "    yield {'test/x': 1}"),
    "record of epoch 2: it has no test/x": (EACH, "    yield {'val/x': 1}"),
    "context.keep(n=...): it is of type int": ("context.keep(n=3)", EACH, f"    {FULL}"),
    "the first epoch has begun": (EACH, "    context.keep(n={})", f"    {FULL}"),
    "the name is taken": ("context.keep(n={}); context.keep(n={})", EACH, f"    {FULL}"),
    "it keeps['n']['f'], which is of type function": (
        "context.keep(n={'f': train})",
        EACH,
        f"    {FULL}",
    ),
    "context.picture('p', (2,)): it is no image": (EACH, "    context.picture('p', torch.ones(2))", f"    {FULL}"),
}


@pytest.mark.parametrize(("says", "lines"), WRONG.items())
def test_a_wrong_record_ends_the_trial_with_what_is_wrong(write: Write, says: str, lines: tuple[str, ...]) -> None:
    with pytest.raises(TrialError) as error:
        train(write, body(*lines), session_of(2))
    assert says in f"{error.value.given}: {error.value.why}"
    assert all((error.value.why, error.value.allowed, error.value.fix))


def test_a_value_that_is_not_finite_ends_it_as_diverged(write: Write) -> None:
    with pytest.raises(Diverged, match="train/loss: nan in the record of epoch 1"):
        train(write, body(EACH, "    yield {'train/loss': float('nan'), 'val/x': 1}"), session_of(2))


def test_a_checkpoint_of_other_names_is_refused(write: Write) -> None:
    first = session_of(1)
    train(write, NOISY, first)
    with pytest.raises(TrialError, match="a checkpoint with network, optimiser, seen"):
        train(write, NOISY.replace(", seen=seen", ""), session_of(2, first))
