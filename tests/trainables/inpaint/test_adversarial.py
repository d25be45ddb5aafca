"""The adversarial step: losses by hand, gradients, terms with weight 0, and resuming."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.inpaint.stepping import discriminators_of
from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import losses
from trainables.inpaint import task as inpaint
from trainables.inpaint.adversarial import (
    HINGE,
    LOGISTIC,
    AdversarialLoss,
    Discriminators,
    Objective,
    discriminate,
    frozen,
    gradient_norm,
    record_name,
    saturated,
)
from trainables.inpaint.batch import Batch
from trainables.inpaint.blocks.context_encoder_blocks import ChannelWise
from trainables.inpaint.method import Regression
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.training import optimisers
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored, Row

RING = {"name": "centre", "fraction": 0.19140625}
GAN = {"l2": 0.9, "adversarial": 0.1}


def configured(seed: int = 3, **changes: Any) -> dict[str, Any]:
    """A resolved small configuration of a context encoder with its seed."""
    config: dict[str, Any] = {
        "data": {"name": "cifar10", "train": 48, "val": 12, "test": 12},
        "mask": RING,
        "model": {"name": "context_encoder", "predicts": "centre", "width": 4, "bottleneck": 16},
        "loss": GAN,
        "optimiser": {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.999]},
        "batch": 16,
        "epochs": 4,
    }
    return {**schema.resolve("inpaint", {**config, **changes}), "seed": seed}


def run(config: dict[str, Any], root: Path, restored: Restored | None = None) -> MemorySession:
    session = MemorySession(Goal(config["epochs"]), Machine(data_root=root), restored)
    fit(inpaint, config, session)
    return session


def learner_of(config: dict[str, Any], root: Path) -> tuple[inpaint.InpaintLearner, inpaint.InpaintDataset]:
    data = inpaint.load(config, Machine(data_root=root))
    return inpaint.build(config, data, Machine()), data


def first_batch(config: dict[str, Any], data: inpaint.InpaintDataset) -> tuple[Tensor, Tensor]:
    return data.batch("train", torch.arange(16), inpaint.epoch_masks(config, data, 1))


def same(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if not name.startswith("sys/")} for row in rows]


class Linear(nn.Module):
    """A discriminator that is easy to compute by hand: the weighted mean of an image, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-0.4, dtype=torch.float64))
        self.calls = 0

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        self.calls += 1
        return self.weight * image_b3hw.mean((1, 2, 3)) + self.bias + 0 * mask_b1hw.sum()


def discriminators(network: nn.Module, rate: float = 0.1, loss: AdversarialLoss = LOGISTIC) -> Discriminators:
    """One discriminator, trained by gradient descent."""
    return Discriminators(
        {"adversarial": network}, torch.optim.SGD(network.parameters(), rate), {"adversarial": Objective(loss)}
    )


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Output, image and mask, float64."""
    rng = torch.Generator().manual_seed(0)
    output, image = (torch.rand(4, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    mask = (torch.rand(4, 1, 8, 8, generator=rng) < 0.3).double()
    return output, image * 0.9, mask


# --- loss terms by hand -----------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class TestByHand:
    def test_discriminator_step(self, batch) -> None:
        output, image, mask = batch
        network = Linear()
        rate = 0.1
        adversary = discriminators(network, rate)
        real, fake = ([1.5 * m - 0.4 for m in t.mean((1, 2, 3)).tolist()] for t in (image, output))
        records = adversary.step(output, Batch.of(image, mask))
        expected = sum(-math.log(sigmoid(x)) / 4 for x in real) + sum(-math.log(1 - sigmoid(x)) / 4 for x in fake)
        assert records["discriminator_loss"].item() == pytest.approx(expected, rel=1e-12)
        assert records["discriminator_accuracy_real"].item() == sum(x > 0 for x in real) / 4
        assert records["discriminator_accuracy_fake"].item() == sum(x < 0 for x in fake) / 4
        by_bias = sum((sigmoid(x) - 1) / 4 for x in real) + sum(sigmoid(x) / 4 for x in fake)
        by_weight = sum((sigmoid(x) - 1) * (x + 0.4) / 6 for x in real) + sum(sigmoid(x) * (x + 0.4) / 6 for x in fake)
        assert records["discriminator_gradient_norm"].item() == pytest.approx(math.hypot(by_bias, by_weight), rel=1e-6)
        assert network.bias.item() == pytest.approx(-0.4 - rate * by_bias, rel=1e-12)
        assert network.weight.item() == pytest.approx(1.5 - rate * by_weight, rel=1e-12)

    def test_hinge_losses(self, batch) -> None:
        output, image, mask = batch
        network = Linear()
        rate = 0.1
        adversary = discriminators(network, rate, HINGE)
        with torch.no_grad():
            network.weight.fill_(40.0)
            network.bias.fill_(-19.5)
        real, fake = ([40 * m - 19.5 for m in t.mean((1, 2, 3)).tolist()] for t in (image, output))
        assert any(x > 1 for x in fake) or any(x > 1 for x in real) or any(x < -1 for x in [*real, *fake])
        records = adversary.step(output, Batch.of(image, mask))
        expected = sum(max(0.0, 1 - x) / 8 for x in real) + sum(max(0.0, 1 + x) / 8 for x in fake)
        assert records["discriminator_loss"].item() == pytest.approx(expected, rel=1e-12)
        by_bias = sum(-1 / 8 for x in real if x < 1) + sum(1 / 8 for x in fake if x > -1)
        assert network.bias.item() == pytest.approx(-19.5 - rate * by_bias, rel=1e-12)
        weight, bias = network.weight.item(), network.bias.item()
        term = adversary.terms(output.requires_grad_(), Batch.of(image, mask))["adversarial"]
        means = output.mean((1, 2, 3)).tolist()
        assert term.item() == pytest.approx(-sum(weight * m + bias for m in means) / 4, rel=1e-12)
        (gradient,) = torch.autograd.grad(term, output)
        torch.testing.assert_close(gradient, torch.full_like(gradient, -weight / 4 / (3 * 8 * 8)))

    def test_generator_term_does_not_saturate(self, batch) -> None:
        output, image, mask = batch
        network = Linear()
        adversary = discriminators(network)
        term = adversary.terms(output.requires_grad_(), Batch.of(image, mask))["adversarial"]
        logits = (1.5 * output.mean((1, 2, 3)) - 0.4).tolist()
        assert term.item() == pytest.approx(sum(-math.log(sigmoid(x)) / 4 for x in logits), rel=1e-12)
        (gradient,) = torch.autograd.grad(term, output)
        for image_gradient, x in zip(gradient, logits, strict=True):
            expected = (sigmoid(x) - 1) / 4 * 1.5 / (3 * 8 * 8)
            torch.testing.assert_close(image_gradient, torch.full_like(image_gradient, expected))

    @pytest.mark.parametrize("term", ["l1", "l2"])
    def test_known_pixels_weigh_more_in_the_models_own_range(self, batch, term: str) -> None:
        output, image, mask = batch
        scope = PredictedRegion(slice(2, 6), 10.0, (-1.0, 1.0))
        value = getattr(losses, term)(scope.image(output), scope.image(image), scope.crop(mask), scope.known_weight)
        total, power = 0.0, int(term[1])
        for b in range(4):
            for c in range(3):
                for y in range(2, 6):
                    for x in range(2, 6):
                        weight = 1 if mask[b, 0, y, x] else 10
                        total += weight * abs(2 * (output[b, c, y, x] - image[b, c, y, x]).item()) ** power
        assert value.item() == pytest.approx(total / (4 * 3 * 4 * 4), rel=1e-12)

    def test_gradients(self, batch) -> None:
        output, image, mask = (t[:2, :, :4, :4].clone() for t in batch)
        network = Linear()
        adversary = discriminators(network)
        scope = PredictedRegion(slice(1, 3), 10.0, (-1.0, 1.0))
        output.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: adversary.terms(x, Batch.of(image, mask))["adversarial"], output)
        target, hole = scope.image(image), scope.crop(mask)
        assert torch.autograd.gradcheck(lambda x: losses.l2(scope.image(x), target, hole, 10.0), output)
        assert torch.autograd.gradcheck(lambda x: losses.l2_hole(scope.image(x), target, hole)[0], output)

    def test_gradient_of_the_channelwise_layer(self) -> None:
        layer = ChannelWise(2, 3).double()
        nn.init.normal_(layer.bias_cp, 1.0)
        assert torch.autograd.gradcheck(layer, torch.rand(2, 2, 3, 3, dtype=torch.float64, requires_grad=True))

    def test_saturated_and_gradient_norm(self) -> None:
        assert saturated(torch.tensor([0.0, 0.004, 0.5, 0.9, 0.996])).tolist() == [1, 1, 0, 0, 1]
        parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
        parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
        assert gradient_norm(parameters).item() == pytest.approx(5)


# --- passes and gradients ---------------------------------------------------------------------------------------------


def test_real_and_fake_share_a_pass_unless_the_batch_is_normalised(batch) -> None:
    output, image, mask = batch
    plain = Linear()
    real, fake = discriminate(plain, image, output, mask)
    assert plain.calls == 1
    torch.testing.assert_close(torch.cat([real, fake]), torch.cat([plain(image, mask), plain(output, mask)]))

    class Normalised(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3, track_running_stats=False).double()

        def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
            return super().forward(self.norm(image_b3hw).square() * image_b3hw, mask_b1hw)

    normalised = Normalised()
    real, fake = discriminate(normalised, image, output, mask)
    assert normalised.calls == 2
    torch.testing.assert_close(real, normalised(image, mask))
    torch.testing.assert_close(fake, normalised(output, mask))


def test_a_frozen_network_passes_gradients_on_and_keeps_none(batch) -> None:
    output, _, mask = batch
    network = Linear()
    network.bias.requires_grad_(False)
    with frozen(network):
        value = network(output.requires_grad_(), mask).sum()
    value.backward()
    assert output.grad is not None
    assert network.weight.grad is None
    assert network.weight.requires_grad
    assert not network.bias.requires_grad, "as it was before"


def test_each_step_moves_its_own_network_alone(data_root: Path) -> None:
    config = configured()
    learner, data = learner_of(config, data_root)
    image, mask = first_batch(config, data)
    network, adversary = learner.method.network, discriminators_of(learner)
    discriminator = adversary.networks["adversarial"]

    def weights(network: nn.Module) -> list[Tensor]:
        return [p.detach().clone() for p in network.parameters()]

    output = network(image * (1 - mask), mask)
    before = weights(network), weights(discriminator)
    adversary.step(output, Batch.of(image, mask))
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights(network), before[0], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(discriminator), before[1], strict=True))

    held = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
    adversary.terms(output, Batch.of(image, mask))["adversarial"].backward()
    assert all(p.grad is not None for p in network.parameters())
    assert all(torch.equal(p.grad, g) for p, g in zip(discriminator.parameters(), held, strict=True))


# --- what is off is off -----------------------------------------------------------------------------------------------


class TestWeights:
    def test_without_an_adversarial_weight_there_is_no_discriminator(self, data_root: Path, monkeypatch) -> None:
        built = []
        original = Discriminators.__init__
        monkeypatch.setattr(Discriminators, "__init__", lambda *a, **k: (built.append(1), original(*a, **k))[1])
        off = run(configured(loss={"l2": 1.0, "adversarial": 0.0}, epochs=1), data_root)
        assert not built
        assert not [name for name in off.rows[0] if "discriminator" in name or "adversarial" in name]
        assert {"train/gradient_norm", "train/saturated"} <= off.rows[0].keys(), "beside those of arms that have one"
        assert same(off.rows) == same(run(configured(loss={"l2": 1.0}, epochs=1), data_root).rows)
        on = run(configured(epochs=1), data_root)
        assert built
        names = ("adversarial", "discriminator_loss", "discriminator_accuracy_real", "discriminator_accuracy_fake")
        assert {f"train/{name}" for name in (*names, "discriminator_gradient_norm")} <= on.rows[0].keys()

    def test_without_a_reconstruction_weight_there_is_no_reconstruction(self, data_root: Path) -> None:
        row = run(configured(loss={"l2": 0.0, "adversarial": 1.0}, epochs=1), data_root).rows[0]
        assert "train/l2" not in row
        assert row["train/loss"] == row["train/adversarial"]

    def test_the_loss_is_the_weighted_sum(self, data_root: Path) -> None:
        for row in run(configured(loss={"l1": 0.5, "l2_hole": 2.0, "adversarial": 0.25}), data_root).rows:
            expected = 0.5 * row["train/l1"] + 2.0 * row["train/l2_hole"] + 0.25 * row["train/adversarial"]
            assert row["train/loss"] == pytest.approx(expected, rel=1e-6)

    def test_the_generator_starts_the_same_in_every_arm(self, data_root: Path) -> None:
        arms = [configured(), configured(loss={"l2": 1.0}), configured(loss={"adversarial": 1.0}, batch=48)]
        first, *others = [learner_of(arm, data_root)[0] for arm in arms]
        for other in others:
            assert all(
                torch.equal(value, first.inference_weights()[name]) for name, value in other.inference_weights().items()
            )
        pair = [discriminators_of(learner).networks["adversarial"] for learner in (first, others[1])]
        assert all(torch.equal(a, b) for a, b in zip(pair[0].parameters(), pair[1].parameters(), strict=True))

    def test_arms_see_the_same_images_and_masks(self, data_root: Path, monkeypatch) -> None:
        seen: list[list[Tensor]] = []
        original = Regression.begin_step

        def begin_step(self: Regression, batch: Batch) -> None:
            seen[-1].append(batch.image_b3hw.clone())
            original(self, batch)

        monkeypatch.setattr(Regression, "begin_step", begin_step)
        for loss in (GAN, {"l2": 1.0}):
            seen.append([])
            run(configured(loss=loss, epochs=2), data_root)
        assert torch.equal(*(torch.cat(images) for images in seen))


# --- a trial ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimiser": {"name": "sgd"}, "discriminator_optimiser": {"name": "adam", "lr": 1e-4}},
        {"schedule": {"name": "step", "every": 0.25}},
        {"model": {"name": "context_encoder_alexnet", "width": 2, "predicts": "centre"}},
        {"model": {"name": "deepfill", "width": 2}, "loss": {"l1": 1.0, "l1_coarse": 1.0, "adversarial": 0.1}},
    ],
    ids=["adam", "sgd against adam", "step", "alexnet", "deepfill"],
)
def test_resuming_is_the_straight_run_to_the_last_bit(changes: dict[str, Any], data_root: Path) -> None:
    config = configured(**changes)
    straight = run(config, data_root)
    for epoch in (1, 3):
        resumed = run(config, data_root, Restored(epoch, straight.saved[epoch]))
        assert resumed.result is not None
        assert same(resumed.result["history"]) == same(straight.rows)
        states = [torch.load(_file(session), weights_only=True) for session in (straight, resumed)]
        assert states[0].keys() == {"network", "optimiser", "adversary"}
        _assert_equal(*states)


def _file(session: MemorySession) -> Any:
    import io

    return io.BytesIO(session.saved[4]["state.pt"])


def _assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key, value in a.items():
            _assert_equal(value, b[key])
    elif isinstance(a, (list, tuple)):
        for one, other in zip(a, b, strict=True):
            _assert_equal(one, other)
    else:
        assert a == b


def test_the_schedule_is_torchs_step_schedule(data_root: Path) -> None:
    network = nn.Linear(1, 1)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    expected = torch.optim.lr_scheduler.StepLR(optimiser, 3, gamma=0.5)
    for epoch in range(1, 13):
        rate = optimiser.param_groups[0]["lr"]
        for every in (3, 0.25):
            factor = optimisers.decay({"name": "step", "every": every, "gamma": 0.5}, epoch, 12)
            assert 0.1 * factor == pytest.approx(rate)
        optimiser.step()
        expected.step()
    config = configured(
        schedule={"name": "step", "every": 1, "gamma": 0.1}, discriminator_optimiser={"name": "sgd", "lr": 0.5}
    )
    learner, data = learner_of(config, data_root)
    for epoch in (1, 3):
        list(inpaint.train(learner, config, data, epoch))
        assert isinstance(learner.method, Regression)
        rates = [optimiser.param_groups[0]["lr"] for optimiser in learner.method.all_optimisers()]
        assert rates == pytest.approx([1e-3 * 0.1 ** (epoch - 1), 0.5 * 0.1 ** (epoch - 1)])


# --- configuration ----------------------------------------------------------------------------------------------------


def test_adversarial_needs_a_model_with_a_discriminator() -> None:
    config = {"data": {"name": "cifar10"}, "mask": RING, "loss": GAN}
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", {**config, "model": {"name": "vanilla_autoencoder"}})
    assert "context_encoder, context_encoder_alexnet" in caught.value.allowed
    assert caught.value.key == "loss.adversarial"
    fill = schema.resolve("inpaint", {**config, "model": {"name": "mean_fill"}})
    assert fill["epochs"] == 0, "an arm that does not train ignores the loss"


def test_identity_of_schedules_and_discriminator_optimisers() -> None:
    def identity(**changes: Any) -> dict[str, Any]:
        return schema.identity("inpaint", configured(**changes), 0)

    plain = identity()
    assert plain == identity(schedule=None, discriminator_optimiser=None, epochs=9)
    assert plain == identity(schedule={"name": "none"})
    assert identity(schedule={"name": "step"}) != identity(schedule={"name": "step"}, epochs=9)
    every = {"name": "step", "every": 5}
    assert identity(schedule=every) == identity(schedule=every, epochs=9) != plain
    faster = {"name": "adam", "lr": 0.1}
    assert identity(discriminator_optimiser=faster) != plain
    without = identity(loss={"l2": 1.0, "adversarial": 0.0}, discriminator_optimiser=faster)
    assert without == identity(loss={"l2": 1.0})
    assert not {"schedule", "discriminator_optimiser"} & plain.keys()


def test_wrong_schedules_are_refused() -> None:
    for schedule in ({"name": "cosine"}, {"name": "step", "every": 1.5}, {"name": "step", "gamma": 1.0}, "step"):
        with pytest.raises(TrialError) as caught:
            configured(schedule=schedule)
        assert "schedule" in caught.value.given


def test_record_names() -> None:
    assert [record_name(term) for term in ("adversarial", "adversarial_local")] == [
        "discriminator",
        "discriminator_local",
    ]
