"""The context encoders: layers against the published ones, inputs, predicted regions and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.blocks import context_encoder_blocks
from trainables.inpaint.evaluation import metrics
from trainables.inpaint.methods.context_encoder import network as context_encoder
from trainables.inpaint.methods.context_encoder_alexnet import network as context_encoder_alexnet
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

MODELS = {"context_encoder": context_encoder, "context_encoder_alexnet": context_encoder_alexnet}
RING = {"name": "centre", "fraction": 0.19140625}  # 14 of 32 px, 56 of 128


def built(name: str, size: int, device: str = "meta", **options: Any) -> tuple[nn.Module, nn.Module]:
    """A generator and its discriminator, by default on the meta device."""
    module = MODELS[name]
    config = module.Config(**options)
    with torch.device(device):
        return module.build(config, size), module.build_discriminator(config, size, "adversarial")


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def channels(network: nn.Module, kind: type[nn.Module]) -> list[int]:
    return [layer.out_channels for layer in network.modules() if type(layer) is kind]  # type: ignore[misc]


def ring_batch(size: int = 32, n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """image_b3hw, mask_b1hw with the centred hole, and the damaged image."""
    image = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(n, 1, size, size)
    corner, side = size * 9 // 32, size * 14 // 32
    mask[:, :, corner : corner + side, corner : corner + side] = 1
    return image, mask, image * (1 - mask)


# --- layers -----------------------------------------------------------------------------------------------------------


class TestLayers:
    """Numbers of MODELS.md sections 4 and 10."""

    def test_published_centre_model(self) -> None:
        generator, discriminator = built("context_encoder", 128, predicts="centre")
        assert count(generator) == 71_124_544
        assert count(discriminator) == 2_765_568
        assert channels(generator, nn.Conv2d) == [64, 64, 128, 256, 512, 4000]
        assert channels(generator, nn.ConvTranspose2d) == [512, 256, 128, 64, 3]
        assert channels(discriminator, nn.Conv2d) == [64, 128, 256, 512, 1]

    def test_random_region_model_has_one_more_layer_in_each(self) -> None:
        generator, discriminator = built("context_encoder", 128)
        assert count(generator) == 71_124_544 + 64 * 64 * 16 + 2 * 64
        assert channels(generator, nn.ConvTranspose2d) == [512, 256, 128, 64, 64, 3]
        assert channels(discriminator, nn.Conv2d) == [64, 64, 128, 256, 512, 1]

    @pytest.mark.parametrize(
        ("size", "down", "up", "bottleneck"),
        [
            (32, [64, 128, 256], [256, 128, 3], 1000),
            (64, [64, 64, 128, 256], [256, 128, 64, 3], 2000),
            (256, [64, 64, 128, 256, 512, 512], [512, 512, 256, 128, 64, 3], 4000),
        ],
    )
    def test_other_sizes(self, size: int, down: list[int], up: list[int], bottleneck: int) -> None:
        generator, _ = built("context_encoder", size, predicts="centre")
        assert channels(generator, nn.Conv2d) == [*down, bottleneck]
        assert channels(generator, nn.ConvTranspose2d) == up

    def test_options(self) -> None:
        plain, extra, channelwise, narrow = (
            count(built("context_encoder", 128, predicts="centre", **options)[0])
            for options in ({}, {"extra_layer": True}, {"channelwise": True}, {"bottleneck": 100})
        )
        assert extra - plain == 2 * (512 * 512 * 9 + 2 * 512)
        assert channelwise - plain == 512 * 16 * 16 + 512 * 16 + 512 * 512 + 512  # within, its bias, across, its bias
        assert plain - narrow == 3900 * (2 * 512 * 16 + 2)

    def test_published_alexnet(self) -> None:
        generator, discriminator = built("context_encoder_alexnet", 227)
        assert count(generator) == 3_921_155
        assert channels(generator, nn.Conv2d) == [96, 256, 384, 384, 256, 256]
        assert channels(generator, nn.ConvTranspose2d) == [128, 64, 64, 32, 3]
        seen = torch.zeros(2, 3, 227, 227, device="meta")
        network = generator.network
        assert network.encoder(seen).shape == (2, 256, 6, 6)
        sides, x = [], network.between(network.encoder(seen))
        for layer in network.decoder:
            x = layer(x)
            sides += [x.shape[-1]] * isinstance(layer, nn.ConvTranspose2d)
        assert sides == [11, 21, 41, 81, 161]
        assert discriminator(seen, seen[:, :1]).shape == (2,)
        without, _ = built("context_encoder_alexnet", 227, channelwise=False)
        assert count(generator) - count(without) == 331_776 + 256 * 36 + 256 * 256 + 256

    @pytest.mark.parametrize(("size", "side"), [(32, 3), (64, 2), (128, 6), (227, 6), (256, 6)])
    def test_alexnets_last_map(self, size: int, side: int) -> None:
        network = built("context_encoder_alexnet", size)[0].network
        assert network.encoder(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 256, side, side)

    @pytest.mark.parametrize("name", MODELS)
    @pytest.mark.parametrize("predicts", ["centre", "image"])
    @pytest.mark.parametrize("size", [32, 64, 128, 256])
    def test_shapes_at_every_size(self, name: str, predicts: str, size: int) -> None:
        image, mask = torch.zeros(2, 3, size, size, device="meta"), torch.zeros(2, 1, size, size, device="meta")
        for seen in ("centre", "image"):
            generator, discriminator = built(name, size, predicts=predicts, discriminator=seen)
            assert generator(image, mask).shape == image.shape
            assert discriminator(image, mask).shape == (2,)

    def test_it_starts_as_published(self) -> None:
        for network in built("context_encoder", 32, "cpu"):
            for layer in network.modules():
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                    assert layer.bias is None
                    if layer.weight.numel() > 10_000:
                        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
                if isinstance(layer, nn.BatchNorm2d):
                    assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
                    assert (layer.bias == 0).all()


def test_the_channelwise_layer_is_a_dense_layer_in_each_channel() -> None:
    layer = context_encoder_blocks.ChannelWise(3, 4).double()
    layer.mix = nn.Identity()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    nn.init.normal_(layer.bias_cp)
    for channel in range(3):
        dense = x[:, channel].flatten(1) @ layer.weight_cpp[channel] + layer.bias_cp[channel]
        torch.testing.assert_close(layer(x)[:, channel].flatten(1), dense.relu())


# --- inputs and predicted regions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
class TestFrame:
    def test_holes_are_refilled_with_the_published_colour(self, name: str) -> None:
        generator, _ = built(name, 32, "cpu", width=2)
        image, mask, damaged = ring_batch()
        seen: list[Tensor] = []
        generator.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        generator.eval()(damaged, mask)
        hole = torch.tensor([2 * 117 / 255 - 1, 2 * 104 / 255 - 1, 2 * 123 / 255 - 1]).view(3, 1, 1)
        torch.testing.assert_close(seen[0], torch.where(mask > 0, hole, image * 2 - 1))

    def test_the_centre_form_predicts_the_square_around_the_hole(self, name: str) -> None:
        generator, _ = built(name, 32, "cpu", width=2, predicts="centre")
        _, mask, damaged = ring_batch()
        with torch.inference_mode():
            filled = generator.eval()(damaged, mask)
        changed = (filled != damaged).any(1)
        assert not changed[:, :8].any()
        assert not changed[:, 24:].any()
        assert not changed[:, :, :8].any()
        assert not changed[:, :, 24:].any()
        assert changed[:, 8:24, 8:24].all(), "the ring of known pixels is predicted too"

    def test_the_discriminator_sees_what_it_should(self, name: str) -> None:
        image, mask, _ = ring_batch()
        outside = image.clone()
        outside[:, :, :8] = 0
        for options, blind in (
            ({"predicts": "centre"}, True),
            ({"predicts": "centre", "discriminator": "image"}, False),
            ({}, False),
            ({"discriminator": "centre"}, True),
        ):
            _, discriminator = built(name, 32, "cpu", width=2, **options)
            assert torch.equal(discriminator(image, mask), discriminator(outside, mask)) == blind

    def test_holes_that_the_centre_form_cannot_fill_are_refused(self, name: str) -> None:
        def resolve(mask: dict[str, Any], **options: Any) -> dict[str, Any]:
            return schema.resolve(
                "inpaint", {"data": {"name": "cifar10"}, "mask": mask, "model": {"name": name, **options}}
            )

        for mask in ({"name": "lines"}, {"name": "centre", "fraction": 0.3}):
            with pytest.raises(TrialError) as caught:
                resolve(mask, predicts="centre")
            assert "predicts: image" in f"{caught.value.allowed} {caught.value.fix}"
            assert caught.value.key == "model.predicts"
            resolve(mask)
        for mask in (RING, {"name": "centre"}):
            resolve(mask, predicts="centre")


# --- scores -----------------------------------------------------------------------------------------------------------


def test_crop_metrics_score_the_output_over_the_square() -> None:
    image, mask, _ = ring_batch(n=3)
    output = (image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    meter = metrics.Meter(slice(8, 24))
    meter.update(output[:1], image[:1], mask[:1])
    meter.update(output[1:], image[1:], mask[1:])
    values = meter.compute()
    error = (output - image).double()[:, :, 8:24, 8:24]
    squares = error.square().mean((1, 2, 3))
    assert values["l1_crop"] == pytest.approx(error.abs().mean().item(), rel=1e-6)
    assert values["l2_crop"] == pytest.approx(squares.mean().item(), rel=1e-6)
    assert values["psnr_db_crop"] == pytest.approx((-10 * squares.log10()).mean().item(), rel=1e-6)
    assert values["psnr_db_crop_pooled"] == pytest.approx(-10 * squares.mean().log10().item(), rel=1e-6)
    plain = metrics.Meter()
    plain.update(output, image, mask)
    assert {name: value for name, value in values.items() if "_crop" not in name} == pytest.approx(plain.compute())


@pytest.mark.parametrize(
    ("mask", "size", "expected"),
    [
        (RING, 32, slice(8, 24)),
        (RING, 128, slice(32, 96)),
        ({"name": "centre", "fraction": 0.25}, 32, slice(8, 24)),
        ({"name": "centre", "fraction": 0.5625}, 32, slice(4, 28)),
        ({"name": "lines"}, 32, None),
    ],
)
def test_the_crop_is_half_the_side_or_the_hole(mask: dict[str, Any], size: int, expected: slice | None) -> None:
    canvas = inpaint.masks.Canvas(size, None)
    data = inpaint.InpaintDataset(None, mask, canvas, torch.device("cpu"))  # type: ignore[arg-type]
    assert data.crop == expected


# --- learning ---------------------------------------------------------------------------------------------------------


def trial(name: str, train: int, epochs: int, **changes: Any) -> dict[str, Any]:
    config = {
        "data": {"name": "cifar10", "train": train, "val": 16, "test": 16},
        "mask": RING,
        "model": {"name": name, "predicts": "centre"},
        "loss": {"l2": 1.0},
        "optimiser": {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.999]},
        "batch": 16,
        "epochs": epochs,
    }
    return {**schema.resolve("inpaint", {**config, **changes}), "seed": 0}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("loss", [{"l2": 1.0}, {"l2": 0.9, "adversarial": 0.1}])
def test_its_reconstruction_falls_within_ten_steps(name: str, loss: dict[str, float], data_root: Path) -> None:
    model = {"name": name, "predicts": "centre", "width": 8}
    session = MemorySession(Goal(10), Machine(data_root=data_root))
    fit(inpaint, trial(name, 16, 10, model=model, loss=loss), session)
    assert session.rows[-1]["train/l2"] < 0.9 * session.rows[0]["train/l2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "rate"), [("context_encoder", 300, 1e-3), ("context_encoder_alexnet", 500, 2e-4)]
)
def test_it_overfits_sixteen_images(name: str, steps: int, rate: float, data_root: Path) -> None:
    config = trial(name, 16, steps, optimiser={"name": "adam", "lr": rate, "betas": [0.5, 0.999]})
    data = inpaint.load(config, Machine(data_root=data_root))
    learner = inpaint.build(config, data, Machine())
    for epoch in range(1, steps + 1):  # one batch an epoch
        list(inpaint.train(learner, config, data, epoch))
    image, mask = data.batch("train", torch.arange(16), data.evaluation_masks["test"])
    meter = metrics.Meter()
    meter.update(learner.method.fill(image, mask), image, mask)
    assert meter.compute()["psnr_db_hole"] > 25
