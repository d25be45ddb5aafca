"""Average precision of pixels: against scikit-learn, under shifts of the logits, and over several workers."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from tests.trainables.forgery.forged_small import small
from trainables.detect import pixel_ranking
from trainables.detect.inference import predict_split
from trainables.detect.metrics import scores
from trainables.detect.output import DetectorOutput
from trainables.detect.pixel_ranking import PixelRanking
from trainables.training.distributed import Workers

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Threads(Workers):
    """Workers that are threads of one process."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    given: dict[int, Tensor] = field(default_factory=dict)

    def _reduce(self, values: Tensor, operation: str) -> Tensor:
        self.given[self.rank] = values.clone()
        self.barrier.wait(20)
        every = torch.stack([self.given[rank] for rank in range(self.size)])
        self.barrier.wait(20)
        return values.copy_(every.sum(0) if operation == "SUM" else every.amax(0))


def drawn(images: int = 30, step: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits and masks of images of 16 px, logits rounded to multiples of `step`."""
    source = torch.Generator().manual_seed(images)
    mask = torch.rand(images, 1, 16, 16, generator=source) < 0.2
    logit = 3 * torch.randn(mask.shape, generator=source) + mask
    return (logit / step).round() * step if step else logit, mask


def ranked(logit: Tensor, mask: Tensor, run: int = 1000, batch: int = 7) -> float | None:
    ranking = PixelRanking(CPU, run)
    for part in zip(logit.split(batch), mask.split(batch), strict=True):
        ranking.add(*part)
    return ranking.average_precision(Workers())


def theirs(logit: Tensor, mask: Tensor) -> float:
    return float(average_precision_score(mask.flatten().numpy(), logit.flatten().float().numpy()))


@pytest.mark.parametrize("run", [1, 1000, 10**9])
@pytest.mark.parametrize("step", [0.0, 0.01, 1.0, 100.0])
def test_it_is_scikit_learns_with_and_without_ties(step: float, run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_ranking, "AT_ONCE", 100)
    logit, mask = drawn(step=step)
    assert ranked(logit, mask, run) == pytest.approx(theirs(logit, mask), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_the_ties_of_its_values(dtype: torch.dtype) -> None:
    logit, mask = drawn()
    assert ranked(logit.to(dtype), mask) == pytest.approx(theirs(logit.to(dtype), mask), abs=1e-12)


def test_only_the_order_of_the_logits_counts() -> None:
    """Shifts and factors that float32 represents exactly, so that they make no ties."""
    logit, mask = drawn(step=2.0**-10)
    values = {ranked(changed, mask) for changed in (logit, logit + 4, logit - 30, logit * 16, logit / 16, logit**3)}
    assert len(values) == 1


def test_infinite_logits_are_ranked_and_nan_is_not() -> None:
    logit, mask = drawn()
    logit[0], logit[1], logit[2] = math.inf, -math.inf, -0.0
    expected = theirs(logit.clamp(-1e3, 1e3), mask)
    assert ranked(logit, mask) == pytest.approx(expected, abs=1e-12)
    logit[3, 0, 0, 0] = math.nan
    assert math.isnan(ranked(logit, mask) or 0)


def test_without_a_pixel_in_a_hole_it_is_undefined() -> None:
    logit, mask = drawn()
    assert ranked(logit, mask & False) is None
    assert ranked(logit[:0], mask[:0]) is None
    assert ranked(logit, mask | True) == 1


@pytest.mark.parametrize("parts", [(10, 20, 0), (1, 0, 0), (0, 5, 40), (0, 0, 0)])
def test_workers_rank_the_pixels_of_all(parts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_ranking, "AT_ONCE", 100)
    logit, mask = drawn(sum(parts), step=0.1)
    barrier, given = threading.Barrier(len(parts)), {}  # type: ignore[var-annotated]

    def one(rank: int) -> float | None:
        ranking = PixelRanking(CPU, 1000)
        ranking.add(logit.split(parts)[rank], mask.split(parts)[rank])
        return ranking.average_precision(Threads(rank, len(parts), barrier=barrier, given=given))

    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(one, range(len(parts))))
    expected = ranked(logit, mask)
    assert found == [pytest.approx(expected, abs=1e-12) if expected is not None else None] * len(parts)
    assert len(set(found)) == 1


@pytest.mark.parametrize("shift", [0.0, 4.0, 30.0])
def test_a_split_has_the_average_precision_of_its_inpainted_images(data_root: Path, shift: float) -> None:
    part = small(data_root).test
    source = torch.Generator().manual_seed(0)
    noise = torch.randint(-4096, 4096, part.mask_n1hw.shape, generator=source) / 1024 + part.mask_n1hw.float()

    def predict(image_b3hw: Tensor) -> DetectorOutput:
        assert len(image_b3hw) == len(part)
        return DetectorOutput(noise.amax((1, 2, 3)), None, noise + shift)

    found = scores(predict_split(predict, part, Workers()).labelled)["average_precision_pixel"]
    inpainted = part.label_n > 0.5
    assert found == pytest.approx(theirs(noise[inpainted], part.mask_n1hw[inpainted]), abs=1e-12)
