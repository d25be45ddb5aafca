"""Methods: a file with only a network, methods of other kinds, terms that are wrong, and parts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.training.threads import together
from trainables import schema
from trainables.config.model_sections import ModelConfig
from trainables.errors import TrialError
from trainables.inpaint import adversarial
from trainables.inpaint import task as inpaint
from trainables.inpaint.batch import Batch
from trainables.inpaint.method import GAN, LossTerm, Regression, Setup, Terms, TrainingOutput, as_sums
from trainables.training.distributed import BatchPart, Workers
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

IMAGE = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < torch.linspace(0.1, 0.6, 5).view(5, 1, 1, 1)


class Grey(nn.Module):
    """Predicts one learned grey."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.25, dtype=torch.float64))

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        return self.value.expand_as(damaged_b3hw) + 0 * mask_b1hw


def setup(loss: Mapping[str, float], machine: Machine = Machine(), **changes: Any) -> Setup:  # noqa: B008 - frozen
    config = {"loss": dict(loss), "optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}}
    return Setup({**config, "epochs": 4, "seed": 0, **changes}, ModelConfig(), Grey(), 8, machine)


def means(terms: Terms) -> dict[str, float]:
    return {name: float(total) / float(count) for name, (total, count) in terms.items()}


# --- Regression -------------------------------------------------------------------------------------------------------


def test_a_network_alone_is_a_regression_by_hand() -> None:
    method = Regression(setup({"l2": 0.5, "l1_hole": 2.0}))
    batch = Batch.of(IMAGE, MASK.double())
    found = means(method.training_step(batch))
    error = 0.25 - IMAGE
    hole = MASK.expand_as(IMAGE)
    l2, l1_hole = error.square().mean().item(), error[hole].abs().mean().item()
    assert found == pytest.approx({"loss": 0.5 * l2 + 2 * l1_hole, "l2": l2, "l1_hole": l1_hole}, rel=1e-12)
    gradient = 0.5 * 2 * error.mean().item() + 2 * error[hole].sign().mean().item()
    assert method.network.value.item() == pytest.approx(0.25 - 0.1 * gradient, rel=1e-12)
    assert method.state_dict().keys() == {"network", "optimiser"}
    assert not method.fill(IMAGE, MASK.double()).requires_grad


def test_the_learning_rate_follows_the_schedule() -> None:
    method = Regression(setup({"l2": 1.0}, schedule={"name": "step", "every": 1, "gamma": 0.5}))
    part = Workers().place(5)
    for epoch, rate in ((1, 0.1), (2, 0.05), (4, 0.0125)):
        method.training_step(Batch(IMAGE, MASK.double(), part, torch.arange(5), epoch=epoch))
        assert method.all_optimisers()[0].param_groups[0]["lr"] == pytest.approx(rate)


def test_training_and_filling_set_the_mode_of_the_network() -> None:
    method, batch = Regression(setup({"l2": 1.0})), Batch.of(IMAGE, MASK.double())
    for _ in range(2):
        method.training_step(batch)
        assert method.network.training
        method.fill(IMAGE, MASK.double())
        assert not method.network.training


class Clipped(Regression):
    """Overrides one function: what is done with the gradients."""

    def use_gradients(self) -> dict[str, Tensor]:
        return {"gradient_norm": nn.utils.clip_grad_norm_(self.network.parameters(), 0.01)}


class Own(Regression):
    """Overrides `predict`: a term that is computed with the output."""

    def predict(self, batch: Batch) -> TrainingOutput:
        output = super().predict(batch)
        terms: dict[str, LossTerm] = {"darkness": (output.image_b3hw.sum(), output.image_b3hw.numel())}
        return TrainingOutput(output.image_b3hw, terms)


def test_one_function_is_overridden_at_a_time() -> None:
    batch = Batch.of(IMAGE, MASK.double())
    clipped = Clipped(setup({"l2": 1.0}))
    norm = means(clipped.training_step(batch))["gradient_norm"]
    assert norm == pytest.approx(abs(2 * (0.25 - IMAGE).mean().item()))
    assert abs(clipped.network.value.item() - 0.25) == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert means(Own(setup({"darkness": 3.0})).training_step(batch)) == pytest.approx({"loss": 0.75, "darkness": 0.25})


# --- GAN --------------------------------------------------------------------------------------------------------------


class Score(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        return self.weight * image_b3hw.mean((1, 2, 3)) + 0 * mask_b1hw.sum()


class GANOptions(ModelConfig):
    adversarial: ClassVar[tuple[str, ...]] = ("adversarial",)


class HingeGAN(GAN):
    """A discriminator, its objective, and what it sees."""

    def build_discriminator(self, term: str) -> nn.Module:
        return Score()

    def objective(self, term: str) -> adversarial.Objective:
        return adversarial.Objective(adversarial.HINGE)

    def discriminator_input(self, prediction: TrainingOutput, batch: Batch) -> Tensor:
        return torch.where(batch.mask_b1hw > 0.5, prediction.image_b3hw, batch.image_b3hw)


def test_a_gan_of_a_discriminator_and_an_objective_by_hand() -> None:
    given = setup({"l2": 1.0, "adversarial": 0.5})
    method = HingeGAN(Setup(given.config, GANOptions(), Grey(), 8, Machine()))
    composite = torch.where(MASK, 0.25, IMAGE)
    real, fake = (2.0 * images.mean((1, 2, 3)) for images in (IMAGE, composite))
    found = means(method.training_step(Batch.of(IMAGE, MASK.double())))
    expected = (1 - real).clamp(min=0).mean() / 2 + (1 + fake).clamp(min=0).mean() / 2
    assert found["discriminator_loss"] == pytest.approx(expected.item(), rel=1e-12)
    assert method.discriminators is not None
    weight = method.discriminators.networks["adversarial"].weight.item()
    assert found["adversarial"] == pytest.approx(-(weight * composite.mean((1, 2, 3))).mean().item(), rel=1e-12)
    assert found["loss"] == pytest.approx(found["l2"] + 0.5 * found["adversarial"], rel=1e-12)
    assert list(found)[:3] == ["loss", "adversarial", "l2"], "the order of the columns"
    assert method.state_dict().keys() == {"network", "optimiser", "adversary"}


# --- parts of a batch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [[(0, 3), (3, 5)], [(0, 5), (5, 5)], [(0, 0), (0, 1), (1, 5)]])
def test_the_sums_of_uneven_and_empty_parts_are_those_of_the_batch(bounds: list[tuple[int, int]]) -> None:
    loss = {"l1": 1.0, "l2_hole": 2.0, "l1_valid": 0.5}

    def step(part: BatchPart) -> Terms:
        some = slice(part.start, part.stop)
        machine = Machine(workers=Workers(part.workers.rank, part.workers.size, wrap=lambda module: module))
        method = Regression(setup(loss, machine))
        return method.training_step(Batch(IMAGE[some], MASK[some].double(), part, torch.arange(5)[some], last=False))

    expected = step(Workers().place(5))
    found = together(len(bounds), lambda workers: step(BatchPart(workers, *bounds[workers.rank], 5)))
    assert all(terms.keys() == expected.keys() for terms in found)
    for name, (total, count) in expected.items():
        assert sum(float(terms[name][0]) for terms in found) == pytest.approx(float(total), rel=1e-12), name
        assert sum(int(terms[name][1]) for terms in found) == count


# --- other methods ----------------------------------------------------------------------------------------------------


class Constant:
    """A method that is no subclass of ours: it counts the images that it has seen."""

    parameters = 1

    def __init__(self) -> None:
        self.seen = torch.zeros(())

    def training_step(self, batch: Batch) -> Any:
        self.seen += len(batch.image_b3hw)
        return as_sums({"loss": self.seen.clone()}, batch.part)

    def fill(
        self,
        image_b3hw: Tensor,
        mask_b1hw: Tensor,
        tokens_bt: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return torch.full_like(image_b3hw, 0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"].clone()

    def inference_weights(self) -> dict[str, Tensor]:
        return {"seen": self.seen}


def run(make: Callable[[], Any], data_root: Path, monkeypatch: pytest.MonkeyPatch) -> MemorySession:
    """Train a method of another kind for two epochs, in place of that of the configuration."""
    config = {
        "data": {"name": "cifar10", "size": 8, "train": 10, "val": 4, "test": 4},
        "mask": {"name": "lines"},
        "model": {"name": "vanilla_autoencoder", "width": 2},
        "batch": 4,
        "epochs": 2,
    }
    monkeypatch.setattr(inpaint, "build_method", lambda *_: (make(), ModelConfig()))
    session = MemorySession(Goal(2), Machine(data_root=data_root))
    fit(inpaint, {**schema.resolve("inpaint", config), "seed": 0}, session)
    return session


def test_any_object_with_the_functions_is_a_method(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(Constant, data_root, monkeypatch).rows
    assert [row["train/loss"] for row in rows] == [(4 * 4 + 8 * 4 + 10 * 2) / 10, (14 * 4 + 18 * 4 + 20 * 2) / 10]
    assert rows[-1]["test/psnr_db"] > 0


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ({"loss": torch.ones(())}, "term `loss` is not (sum, count) but Tensor"),
        ({"l2": (torch.ones(()), 4)}, "no term `loss`, only 'l2'"),
        ({}, "no term `loss`, only nothing"),
        ({"loss": (1.0, 4)}, "the sum of term `loss` is not a tensor"),
        ({"loss": (torch.ones(2), 4)}, "the sum of term `loss` is not a tensor without dimensions"),
        ({"loss": (torch.ones(()), 4.5)}, "the count of term `loss` is float"),
        (torch.ones(()), "it returned Tensor"),
        (None, "it returned NoneType"),
    ],
)
def test_wrong_terms_are_an_error_that_names_the_file(
    returned: Any, why: str, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Constant):
        def training_step(self, batch: Batch) -> Any:
            return returned

    with pytest.raises(TrialError) as caught:
        run(Wrong, data_root, monkeypatch)
    error = caught.value
    assert f"{Path(__file__).name}:" in error.given
    assert "Wrong.training_step" in error.given
    assert why in error.why
    assert "(sum, count)" in error.allowed
    assert "as_sums" in error.fix
