"""LaMa: its blocks against direct formulas, its sizes, and every term of its loss by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainables.inpaint.stepping import step
from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import adversarial
from trainables.inpaint import task as inpaint
from trainables.inpaint.adversarial import Discriminators, MaskedTarget, Objective
from trainables.inpaint.batch import Batch
from trainables.inpaint.dataset import InpaintDataset
from trainables.inpaint.evaluation import metrics
from trainables.inpaint.methods.lama_fourier import fourier as blocks
from trainables.inpaint.methods.lama_fourier import network as lama_fourier
from trainables.inpaint.methods.lama_fourier.config import Config
from trainables.inpaint.methods.lama_fourier.discriminator import NLayerDiscriminator
from trainables.training.session import Machine

PUBLISHED = {"valid": 10.0, "adversarial": 10.0, "feature_matching": 100.0, "r1": 0.001}


def build(size: int, **options: Any) -> nn.Module:
    return lama_fourier.build(Config(**options), size)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def blank(size: int, n: int = 2) -> tuple[Tensor, Tensor]:
    return torch.zeros(n, 3, size, size, device="meta"), torch.zeros(n, 1, size, size, device="meta")


def batch(n: int = 3, size: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Output, image and mask, with a different square hole in each image."""
    rng = torch.Generator().manual_seed(0)
    output, image = (torch.rand(n, 3, size, size, generator=rng) for _ in range(2))
    mask = torch.zeros(n, 1, size, size)
    for place, hole in enumerate(mask):
        hole[0, 4 + place : 20, 8 : 24 - place] = 1
    return output, image, mask


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "block", "parameters"),
    [
        (256, "fourier", 27_048_835),  # MODELS.md and the paper: 27 M
        (256, "aot", 66_836_611),
        (256, "plain", 45_607_555),
        (64, "fourier", 19_073_155),
        (32, "fourier", 3_423_619),
    ],
)
def test_parameters(size: int, block: Any, parameters: int) -> None:
    with torch.device("meta"):
        network = build(size, block=block)
    assert count(network) == parameters
    assert network(*blank(size)).shape == (2, 3, size, size)


@pytest.mark.parametrize(("size", "side", "channels", "number"), [(32, 8, 256, 4), (64, 8, 512, 6), (256, 32, 512, 9)])
def test_forms(size: int, side: int, channels: int, number: int) -> None:
    """MODELS.md sections 7 and 10; three quarters of a block's channels see the whole image."""
    with torch.device("meta"):
        network = build(size)
    seen: list[torch.Size] = []
    bodies = [layer for layer in network.modules() if isinstance(layer, blocks.FourierBlock)]
    for body in bodies:
        body.register_forward_hook(lambda _, __, output: seen.append(output.shape[1:]))
        assert body.split == [channels // 4, channels * 3 // 4]
    network(*blank(size))
    assert seen == number * [(channels, side, side)]


@pytest.mark.parametrize(
    ("size", "channels", "side", "parameters"),
    [(256, [64, 128, 256, 512, 512, 1], 19, 6_962_369), (32, [64, 128, 256, 1], 11, 663_745)],
)
def test_discriminator(size: int, channels: list[int], side: int, parameters: int) -> None:
    with torch.device("meta"):
        network = lama_fourier.build_discriminator(Config(), size, "adversarial")
    assert isinstance(network, NLayerDiscriminator)
    maps = network.maps(*blank(size))
    assert [layer.shape[1] for layer in maps] == channels
    assert maps[-1].shape == (2, 1, side, side)
    assert count(network) == parameters


@pytest.mark.parametrize("size", [4, 24, 100])
def test_a_size_that_does_not_fit_is_refused_before_anything_runs(size: int) -> None:
    base = {"data": {"name": "cifar10", "size": size}, "mask": {"name": "lines"}, "model": {"name": "lama_fourier"}}
    with pytest.raises(TrialError) as caught:
        schema.resolve("inpaint", base)
    assert "data.size" in (caught.value.key or caught.value.given)


# --- blocks -----------------------------------------------------------------------------------------------------------


def transform(side: int) -> Tensor:
    """The unitary matrix of the discrete Fourier transform."""
    n = torch.arange(side, dtype=torch.float64)
    angle = -2 * math.pi / side * torch.outer(n, n)
    return torch.complex(angle.cos(), angle.sin()) * (1 / math.sqrt(side))


def test_a_fourier_unit_is_a_layer_between_two_transforms() -> None:
    """Against matrices in float64; the half of the spectrum that is not computed is the conjugate of the other half."""
    torch.manual_seed(0)
    side, unit = 6, blocks.FourierUnit(3).double()
    x, matrix = torch.randn(2, 3, side, side, dtype=torch.float64), transform(6)
    spectrum = (matrix @ x.to(matrix.dtype) @ matrix)[..., : side // 2 + 1]
    parts = torch.stack([part for channel in spectrum.unbind(1) for part in (channel.real, channel.imag)], 1)
    mixed = torch.einsum("oi,bihw->bohw", unit.conv.weight[:, :, 0, 0], parts)
    mixed = (mixed - mixed.mean((0, 2, 3), True)) / (mixed.var((0, 2, 3), False, keepdim=True) + 1e-5).sqrt()
    half = torch.complex(mixed[:, ::2].relu(), mixed[:, 1::2].relu())
    expected = torch.fft.irfft(matrix.conj() @ half, side, norm="ortho")
    torch.testing.assert_close(unit(x), expected)


def test_a_fast_fourier_convolution_by_hand() -> None:
    torch.manual_seed(0)
    layer = blocks.FastFourierConvolution(2, 6).eval()
    local, world = torch.randn(1, 2, 8, 8), torch.randn(1, 6, 8, 8)

    def conv(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), weight)

    of_local, of_world = torch.split(layer.local.weight, [2, 6], 1)
    expected = conv(local, of_local) + conv(world, of_world)
    half = layer.global_to_global.before(world)
    to_world = conv(local, layer.local_to_global.weight)
    to_world = to_world + layer.global_to_global.after(half + layer.global_to_global.unit(half))
    found = layer(local, world)
    for ours, theirs in zip(found, (expected, to_world), strict=True):
        torch.testing.assert_close(ours, F.relu(theirs) / (1 + 1e-5) ** 0.5)


def test_every_pixel_of_a_fourier_block_sees_every_other() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 16, 16, requires_grad=True)
    for block, far in ((blocks.FourierBlock(16), True), (blocks.PlainBlock(16), False)):
        (gradient,) = torch.autograd.grad(block.eval()(x)[0, :, 0, 0].sum(), x)
        assert bool((gradient[0, :, 8:, 8:] != 0).any()) == far


@pytest.mark.parametrize(("side", "rates"), [(32, [1, 2, 4, 8]), (16, [1, 2, 4, 8]), (8, [1, 2, 4, 4])])
def test_an_aggregated_block_by_hand(side: int, rates: list[int]) -> None:
    torch.manual_seed(0)
    block, x = blocks.AggregatedBlock(8, side), torch.randn(1, 8, side, side)
    assert [branch.dilation[0] for branch in block.branches if isinstance(branch, nn.Conv2d)] == rates

    def conv(x: Tensor, layer: Any, rate: int = 1) -> Tensor:
        return F.conv2d(F.pad(x, [rate] * 4, mode="reflect"), layer.weight, layer.bias, dilation=rate)

    seen = torch.cat([conv(x, branch, rate).relu() for branch, rate in zip(block.branches, rates, strict=True)], 1)
    gate = conv(x, block.gate)
    gate = (gate - gate.mean((2, 3), True)) / gate.std((2, 3), keepdim=True)
    gate = (5 * (2 * gate - 1)).sigmoid()
    torch.testing.assert_close(block(x), x * (1 - gate) + conv(seen, block.joined) * gate)


def test_transforms_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, before = [], torch.fft.rfft2

    def watched(x: Tensor, norm: str) -> Tensor:
        seen.append(x.dtype)
        spectrum: Tensor = before(x, norm=norm)
        return spectrum

    monkeypatch.setattr(torch.fft, "rfft2", watched)
    with torch.autocast("cpu", torch.bfloat16):
        assert blocks.FourierUnit(2)(torch.randn(1, 2, 8, 8).bfloat16()).dtype == torch.float32
    assert seen == [torch.float32]


# --- loss terms -------------------------------------------------------------------------------------------------------


def small() -> NLayerDiscriminator:
    torch.manual_seed(0)
    return NLayerDiscriminator(2, 4)


def adversary(network: nn.Module, objective: Objective = Objective(), rate: float = 0.0) -> Discriminators:  # noqa: B008
    optimiser = torch.optim.SGD(network.parameters(), rate)
    return Discriminators({"adversarial": network}, optimiser, {"adversarial": objective})


def test_the_mask_is_the_target() -> None:
    """The target of a generated image is "real" outside its holes; the mask is scaled by nearest neighbour."""
    output, image, mask = batch()
    network = small()
    real, fake = network(image, mask), network(output, mask)
    found = adversary(network, MaskedTarget()).step(output, Batch.of(image, mask))
    rows = [int(place * 32 / 11) for place in range(11)]
    hole = mask[:, :, rows][..., rows]
    assert 0 < hole.mean() < 1
    expected = F.softplus(-real).mean() + F.softplus(torch.where(hole > 0, fake, -fake)).mean()
    torch.testing.assert_close(found["discriminator_loss"], expected.detach())
    right = torch.where(hole > 0, fake < 0, fake > 0).float().mean()
    torch.testing.assert_close(found["discriminator_accuracy_fake"], right)
    plain = adversary(network).step(output, Batch.of(image, mask))
    torch.testing.assert_close(
        plain["discriminator_loss"], (F.softplus(-real).mean() + F.softplus(fake).mean()).detach()
    )


def test_the_network_is_to_deceive_everywhere() -> None:
    output, image, mask = batch()
    network = small()
    found = adversary(network, MaskedTarget(feature_matching=True)).terms(output, Batch.of(image, mask))
    torch.testing.assert_close(found["adversarial"], F.softplus(-network(output, mask)).mean())


class Square(nn.Module):
    """A discriminator with a known gradient: weight times the sum of squares, spread over a 2x2 map."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.01, dtype=torch.float64))

    def forward(self, image_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        score = self.weight * image_b3hw.square().sum((1, 2, 3)) / 4
        return score.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_r1_is_the_squared_gradient_at_real_images() -> None:
    """For D(x) = weight |x|^2, R1 is |2 weight x|^2 = 4 weight^2 |x|^2, with the gradient 8 weight |x|^2."""
    output, image, mask = (x.double() for x in batch())
    squares = image.square().sum((1, 2, 3))
    steps = {}
    for r1 in (0.0, 0.5):
        network = Square()
        found = adversary(network, Objective(r1=r1), rate=1.0).step(output, Batch.of(image, mask))
        steps[r1] = 0.01 - network.weight.item()
    assert found["discriminator_r1"].item() == pytest.approx((4 * 0.01**2 * squares).mean().item())
    assert steps[0.5] - steps[0.0] == pytest.approx(0.5 * (8 * 0.01 * squares).mean().item())
    assert "discriminator_r1" not in adversary(Square()).step(output, Batch.of(image, mask))
    assert not image.requires_grad


def test_r1_through_batch_normalisation_is_autograds() -> None:
    """Against finite differences in the weights, in float64."""
    output, image, mask = (x.double() for x in batch(size=16))
    network = small().double()
    weight = network.layers[1][0].weight  # type: ignore[index]

    def penalty() -> Tensor:
        x = image.clone().requires_grad_()
        return adversarial.gradient_penalty(network(x, mask), x).mean()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    place, step = (1, 2, 1, 3), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * step
        values.append(penalty().item())
        with torch.no_grad():
            weight[place] -= sign * step
    assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)
    found = adversary(network, Objective(r1=0.1)).step(output, Batch.of(image, mask))
    assert found["discriminator_r1"].item() == pytest.approx(penalty().item())


def test_feature_matching_by_hand() -> None:
    output, image, mask = batch()
    network = small()
    output.requires_grad_()
    found = adversary(network, Objective(feature_matching=True)).terms(output, Batch.of(image, mask))[
        "feature_matching"
    ]
    ours, truth = network.maps(output, mask)[:-1], network.maps(image, mask)[:-1]
    assert len(ours) == 3, "all layers but the scores"
    expected = torch.stack([(a - b).square().mean() for a, b in zip(ours, truth, strict=True)]).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, output)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, output)[0])
    assert all(parameter.grad is None for parameter in network.parameters())


def trial(
    data_root: Path, size: int = 32, **changes: Any
) -> tuple[inpaint.InpaintLearner, InpaintDataset, dict[str, Any]]:
    asked = {
        "data": {"name": "cifar10", "size": size, "train": 16, "val": 16, "test": 16},
        "mask": {"name": "free_form"},
        "model": {"name": "lama_fourier", "width": 4},
        "loss": PUBLISHED,
        "optimiser": {"name": "adam", "lr": 1e-3},
        "discriminator_optimiser": {"name": "adam", "lr": 1e-4},
        "batch": 16,
        **changes,
    }
    configured = {**schema.resolve("inpaint", asked), "seed": 0}
    data = inpaint.load(configured, Machine(data_root=data_root))
    return inpaint.build(configured, data, Machine()), data, configured


def test_a_step_adds_up(data_root: Path) -> None:
    """The network's loss has no r1; `valid` is LaMa's L1 of known pixels: over all elements, in [0, 1]."""
    learner, _, _ = trial(data_root)
    _, image, mask = batch(4)
    with torch.no_grad():
        output = learner.method.network(image * (1 - mask), mask)
    found = step(learner, image, mask)
    assert found["valid"].item() == pytest.approx(((output - image).abs() * (1 - mask)).mean().item(), rel=1e-5)
    total = sum(weight * found[term] for term, weight in PUBLISHED.items() if term != "r1")
    assert found["loss"].item() == pytest.approx(float(total), rel=1e-6)
    assert found["discriminator_r1"] > 0
    assert all(value.isfinite() for value in found.values())


@pytest.mark.parametrize("term", ["r1", "feature_matching"])
def test_terms_of_a_discriminator_need_one(term: str, data_root: Path) -> None:
    with pytest.raises(TrialError) as caught:
        trial(data_root, loss={"l1": 1.0, term: 1.0})
    assert caught.value.key == f"loss.{term}"
    with pytest.raises(TrialError) as caught:
        trial(data_root, model={"name": "deepfill"}, loss={"l1": 1.0, "adversarial": 1.0, term: 1.0})
    assert "lama_fourier" in caught.value.allowed


@pytest.mark.parametrize("block", ["fourier", "aot", "plain"])
def test_a_hole_that_covers_everything_or_nothing_gives_numbers(block: str, data_root: Path) -> None:
    learner, _, _ = trial(data_root, model={"name": "lama_fourier", "width": 4, "block": block})
    image, mask = torch.rand(3, 3, 32, 32), torch.zeros(3, 1, 32, 32)
    mask[1:] = 1
    for _ in range(2):
        assert all(value.isfinite() for value in step(learner, image, mask).values())
    assert learner.method.fill(image, mask).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("block", ["fourier", "aot"])
def test_overfits_sixteen_images(block: str, data_root: Path) -> None:
    model = {"name": "lama_fourier", "width": 16, "block": block}
    loss = {"l1": 10.0, "adversarial": 0.1, "feature_matching": 1.0, "r1": 0.001}
    learner, data, config = trial(data_root, model=model, loss=loss, mask={"name": "centre", "fraction": 0.1})
    image, mask = data.batch("train", torch.arange(16), inpaint.epoch_masks(config, data, 1))
    for _ in range(300):
        step(learner, image, mask)
    meter = metrics.Meter(data.crop)
    meter.update(learner.method.fill(image, mask), image, mask)
    psnr = meter.compute()["psnr_db_hole"]
    print(f"{block}: {psnr:.1f} dB in the holes after 300 steps")
    assert psnr > 24
