"""One, two and four workers train the same trial with the same records and weights, whatever their part of a batch."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeps.results.columns import same_numbers
from tests import background
from tests.background import Background
from tests.trainables.training import team
from tests.trainables.training.threads import together as in_threads
from trainables import registry, schema
from trainables.inpaint import losses
from trainables.inpaint.batch import batch_means
from trainables.inpaint.perceptual_features import Features
from trainables.training.distributed import BatchPart, Workers

TOLERANCE = {"adam": 1e-3, "terms": 1e-3, "double": 1e-9, "detector": 1e-3}
"""Tolerance by the last word of a case's name; 1e-6 for the other cases, with SGD in float32.

Rounding changes the sign of an absolute value's gradient near 0; the box loss of a detector is in px."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Results(Mapping[tuple[int, int], dict[str, Any]]):
    """(number of workers, rank) -> that worker's results of all cases, read when they are complete."""

    def __init__(self, made: Background) -> None:
        self.made, self._read = made, dict[tuple[int, int], dict[str, Any]]()

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Any]:
        if place not in self._read:
            self._read[place] = torch.load(self.made.file(f"{place[0]}-{place[1]}.pt"), weights_only=True)
        return self._read[place]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter((size, rank) for size in team.SIZES for rank in range(size))

    def __len__(self) -> int:
        return sum(team.SIZES)


@pytest.fixture(scope="module")
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data_root: Path
) -> Iterator[Results]:
    """The cases of those tests that run."""
    folder = tmp_path_factory.mktemp("team")
    names = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    cases = [name for name in team.CASES if name in names or name in team.ALWAYS]
    environment = {**os.environ, "SWEEPS_DATA": str(data_root), "PYTHONPATH": str(background.ROOT)}
    command = [sys.executable, "-m", "tests.trainables.training.team", str(free_port()), str(folder), *cases]
    with background.started(command, folder, environment) as made:
        yield Results(made)


@pytest.fixture(scope="module")
def alone(data_root: Path) -> Callable[[str], dict[str, Any]]:
    """A function from a case's name to the results of one process."""
    team.DATA_ROOT = data_root
    return lambda name: team.kept(team.train(name, Workers()))


def distance(a: list[dict[str, torch.Tensor]], b: list[dict[str, torch.Tensor]]) -> float:
    """The largest difference between two lists of networks' states."""
    assert [list(x) for x in a] == [list(x) for x in b]
    return max(float((x[key].double() - y[key].double()).abs().max()) for x, y in zip(a, b, strict=True) for key in x)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in team.SLOW else [])
        for name in team.CASES
        if not name.startswith("apart")
    ],
)
def test_any_number_of_workers_gives_the_numbers_of_one(together: Results, alone: Any, name: str) -> None:
    tolerance = TOLERANCE.get(name.split()[-1], 1e-6)
    expected = alone(name)
    for size in team.SIZES if name in team.BY_FOUR else (2,):
        found = together[size, 0][name]
        assert len(found["rows"]) == team.CASES[name]["epochs"]
        for row, mine in zip(expected["rows"], found["rows"], strict=True):
            assert same_numbers(mine) == pytest.approx(same_numbers(row), rel=tolerance, abs=tolerance), size
        assert distance(found["networks"], expected["networks"]) < max(tolerance, 1e-6), size
        assert ("test/l1_seam_on_protocol" in found["rows"][-1]) == (name == "protocol")


def test_all_workers_report_the_same_record(together: Results) -> None:
    for size in team.SIZES:
        for name in team.BY_FOUR:
            rows = [[same_numbers(row) for row in together[size, rank][name]["rows"]] for rank in range(size)]
            assert all(other == rows[0] for other in rows), name


def test_normalising_over_parts_gives_other_numbers(together: Results, alone: Any) -> None:
    """Checks that the comparison is sensitive: it detects that `sync_batch_norm: false` does not synchronise."""
    one = alone("apart double")["networks"]
    assert distance(together[2, 0]["apart double"]["networks"], one) > 1e-4


def test_several_workers_resume_to_the_same_bits(together: Results) -> None:
    assert all(found["resumed"] for found in together.values())


def test_all_workers_tell_the_fault_of_one(together: Results) -> None:
    for (_, rank), found in together.items():
        assert found["faults"]["data"].startswith("TrialError data"), rank
        assert "first at epoch 2, step 2" in found["faults"]["nan"], rank
    together.made.end()


@pytest.mark.parametrize("name", registry.names("loss"))
@pytest.mark.parametrize("cut", [3, 5, 0])
def test_every_term_is_a_mean_over_the_whole_batch(name: str, cut: int) -> None:
    """Two workers with uneven parts, one of which may be empty."""
    source = torch.Generator().manual_seed(0)
    output, target = torch.rand(2, 5, 3, 8, 8, dtype=torch.float64, generator=source)
    mask = (torch.rand(5, 1, 8, 8, generator=source) * torch.linspace(1, 3, 5).view(5, 1, 1, 1) > 0.9).double()

    def value(part: BatchPart) -> float:
        some = slice(part.start, part.stop)
        given = {
            "prediction_b3hw": output[some],
            "target_b3hw": target[some],
            "mask_b1hw": mask[some],
            "known_weight": 2.0,
            "features": Features([output[some]], [(output * mask)[some]], [target[some]]),
        }
        term = getattr(losses, name)(**{key: given[key] for key in registry.parameters("loss")[name]})
        mean = float(batch_means({name: term}, part)[name])
        return mean if part.images else 0.0

    bounds = [(0, cut), (cut, 5)]
    parts = in_threads(2, lambda workers: value(BatchPart(workers, *bounds[workers.rank], 5)))
    assert sum(parts) / 2 == pytest.approx(value(Workers().place(5)), abs=1e-12)


def test_turning_synchronisation_on_is_no_other_trial() -> None:
    base = {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "partial_conv_unet"}}
    plain, on, off = (
        schema.identity("inpaint", schema.resolve("inpaint", {**base, **extra}), 0)
        for extra in ({}, {"sync_batch_norm": True}, {"sync_batch_norm": False})
    )
    assert plain == on
    assert "sync_batch_norm" not in plain
    assert off == {**plain, "sync_batch_norm": False}
