"""Every inpainting method, found by listing the packages, against the common contract of all methods."""

from __future__ import annotations

import pytest
import torch

from trainables import registry, schema
from trainables.errors import TrialError
from trainables.inpaint.methods.onion_peel.network import OnionPeel

MODELS = [name for name in registry.names("method") if name != "outputs"]  # reads images from a folder: test_outputs.py
FILLS = [name for name in MODELS if not registry.model(name).config.trains]
OPENCV = ("telea", "navier_stokes")
NETWORKS = [name for name in registry.names("method") if registry.model(name).config.trains]
ANY_SIZE = ("fill_refiner",)
SMALLEST = {"context_encoder_alexnet": 32, "tdanet": 32}
"""Smallest side of the images of a model, px, if it is not 8."""


NARROW = {"tdanet": {"width": 4}}
"""Options of networks whose initialisation takes seconds at full width."""


def build(name, size=32, **options):
    options = {**NARROW.get(name, {}), **options}
    module = registry.model(name).load()
    torch.manual_seed(0)
    return module.build(registry.model(name).config(**options), size)


def damaged(size=32, n=3):
    """damaged_b3hw, mask_b1hw and the original image."""
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(n, 3, size, size, generator=rng)
    mask = (torch.rand(n, 1, size, size, generator=rng) < 0.3).float()
    mask[:, :, 5:9, 5:9] = 1
    return image * (1 - mask), mask, image


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    @pytest.mark.parametrize("size", [8, 32, 64])
    def test_gives_an_image(self, name, size):
        size = max(size, SMALLEST.get(name, 8))
        options = {"width": 4} if "width" in registry.model(name).config.model_fields else {}
        model = build(name, size, **options).eval()
        given, mask, _ = damaged(size)
        before = given.clone(), mask.clone()
        with torch.inference_mode():
            image = model(given, mask)
        assert image.shape == given.shape
        assert image.dtype == torch.float32
        assert image.isfinite().all()
        if name != "partial_conv_unet":  # its last layer has no activation
            assert image.min() >= 0
            assert image.max() <= 1
        assert torch.equal(given, before[0])  # inputs are not modified
        assert torch.equal(mask, before[1])

    def test_has_parameters_if_it_says_so(self, name):
        assert any(True for _ in build(name).parameters()) == registry.model(name).config.trains

    def test_an_image_does_not_depend_on_its_batch(self, name):
        model = build(name).eval()
        given, mask, _ = damaged()
        with torch.inference_mode():
            torch.testing.assert_close(model(given, mask)[:1], model(given[:1], mask[:1]), rtol=1e-4, atol=1e-5)

    def test_an_image_that_is_all_hole_or_has_none(self, name):
        model = build(name).eval()
        image = torch.rand(2, 3, 32, 32)
        mask = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)])
        with torch.inference_mode():
            filled = model(image * (1 - mask), mask)
        assert filled.isfinite().all()
        if name in FILLS:
            assert torch.equal(filled[0], image[0])
            assert (filled[1] == 0.5).all(), "grey where nothing is known"
        if name == "partial_conv_unet":
            assert (filled[1] == 0).all(), "no window has a valid pixel"


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryNetwork:
    def test_learns(self, name):
        model = build(name, width=4)
        given, mask, image = damaged(n=4)
        losses = []
        for _ in range(10):
            loss = (model(given, mask) - image).square().mean()
            gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
            there = [gradient for gradient in gradients if gradient is not None]
            assert all(gradient.isfinite().all() for gradient in there)
            assert len(there) == len(gradients) or registry.model(name).config.terms, "a part that only `learn` uses"
            with torch.no_grad():  # by hand: torch.optim takes seconds to import
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    if gradient is not None:
                        parameter -= 0.1 * gradient
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_the_same_seed_gives_the_same_network(self, name):
        for a, b in zip(build(name).parameters(), build(name).parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ANY_SIZE])
class TestEveryNetworkThatHalvesTheImage:
    @pytest.mark.parametrize("size", [2, 48, 100])
    def test_refuses_a_size_it_cannot_take(self, name, size):
        with pytest.raises(TrialError) as caught:
            build(name, size)
        assert "power of two" in caught.value.allowed

    def test_a_size_it_cannot_take_is_refused_when_the_sweep_is_checked(self, name):
        with pytest.raises(TrialError) as caught:
            schema.resolve("inpaint", sized(name, 96))
        assert caught.value.key == "data.size"
        assert schema.resolve("inpaint", sized(name, 64))


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("size", [2, 48, 100])
def test_a_network_that_keeps_the_resolution_takes_any_size(name, size):
    damaged_b3hw = torch.rand(1, 3, size, size)
    assert build(name, size)(damaged_b3hw, damaged_b3hw[:, :1].round()).shape == damaged_b3hw.shape
    assert schema.resolve("inpaint", sized(name, 96))


def sized(name, size):
    return {"data": {"name": "cifar10", "size": size}, "mask": {"name": "centre"}, "model": {"name": name}}


@pytest.mark.parametrize(
    ("name", "size", "options", "count"),
    [
        ("vanilla_autoencoder", 32, {}, 2_265_763),
        ("vanilla_autoencoder", 32, {"see_mask": True}, 2_265_763 + 32 * 9),
        ("partial_conv_unet", 32, {}, 3_923_028),
        ("partial_conv_unet", 32, {"convolution": "plain"}, 3_923_028 + 32 * 9 + 3 * 9),
        ("fill_refiner", 32, {}, 24 * (9 * 4 + 1) + 4 * 24 * (9 * 24 + 1) + 3 * (9 * 24 + 1)),
    ],
)
def test_parameter_count(name, size, options, count):
    assert sum(p.numel() for p in build(name, size, **options).parameters()) == count


@pytest.mark.parametrize(("size", "widths"), [(32, [8, 16, 32, 64, 128]), (64, [8, 16, 32, 64, 128, 128])])
def test_a_level_halves_the_image_until_one_pixel_is_left(size, widths):
    autoencoder, unet = (build(name, size, width=8) for name in ("vanilla_autoencoder", "partial_conv_unet"))
    convolutions = [layer for layer in autoencoder.encoder if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    assert [layer.conv.out_channels for layer in unet.down] == widths
    assert autoencoder.encoder(torch.rand(1, 3, size, size)).shape == (1, widths[-1], 1, 1)


def test_the_autoencoder_is_blind_unless_told():
    given, mask, _ = damaged()
    none = torch.zeros_like(mask)
    blind, told = (build("vanilla_autoencoder", width=4, see_mask=see_mask) for see_mask in (False, True))
    assert torch.equal(blind(given, mask), blind(given, none))
    assert not torch.equal(told(given, mask), told(given, none))
    assert not torch.equal(
        blind(given, mask), blind(given + 0.5 * mask, mask)
    )  # it depends on the values inside the hole


def test_a_u_net_with_plain_convolutions_sees_the_mask_and_what_lies_under_it():
    model = build("partial_conv_unet", width=4, convolution="plain").eval()
    given, mask, _ = damaged()
    none = torch.zeros_like(mask)
    assert not torch.equal(model(given, mask), model(given, none))
    assert not torch.equal(model(given, mask), model(given + 0.5 * mask, mask))


def test_plain_convolutions_of_the_u_net_equal_conv2d_inside_the_image():
    model = build("partial_conv_unet", width=4, convolution="plain")
    given, mask, _ = damaged()
    seen, layer = torch.cat([given, mask], 1), model.down[0]
    found, valid = layer(seen, torch.ones_like(mask))
    expected = torch.nn.functional.conv2d(seen, layer.conv.weight, layer.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])
    assert bool(valid.all())


@pytest.mark.parametrize("name", ["partial_conv_unet", *FILLS])
def test_what_lies_under_the_hole_does_not_matter(name):
    model = build(name).eval()
    given, mask, _ = damaged()
    with torch.inference_mode():
        if name in OPENCV:  # undocumented in OpenCV: only the known pixels are guaranteed
            assert torch.equal(model(given, mask) * (1 - mask), given)
        else:
            assert torch.equal(model(given, mask), model(given + torch.rand_like(given) * mask, mask))


# --- fills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_keeps_known_pixels_and_a_constant_image(name):
    given, mask, image = damaged()
    filled = build(name)(given, mask)
    assert torch.equal(filled * (1 - mask), given)
    constant = torch.full_like(image, 102 / 255)
    tolerance = 4 / 255 if name in OPENCV else 1e-5  # OpenCV's rounding adds up towards the middle
    torch.testing.assert_close(build(name)(constant * (1 - mask), mask), constant, rtol=0, atol=tolerance)


def test_mean_fill():
    given, mask, image = damaged()
    filled = build("mean_fill")(given, mask)
    known = (mask[1, 0] == 0).expand(3, -1, -1)
    expected = image[1][known].view(3, -1).mean(1)
    torch.testing.assert_close(filled[1, :, 6, 6], expected)


def test_onion_peel_by_hand():
    image = torch.zeros(1, 3, 8, 8)
    image[0, 0, 3, 3], image[0, 1, 2, 3] = 1.0, 1.0  # shares an edge, and a corner, with the pixel (3, 4)
    mask = torch.zeros(1, 1, 8, 8)
    mask[0, 0, 3, 4] = 1
    filled = build("onion_peel")(image, mask)
    assert filled[0, :, 3, 4].tolist() == pytest.approx([2 / 12, 1 / 12, 0])


def test_onion_peel_goes_inwards_ring_by_ring():
    image = torch.zeros(1, 3, 8, 8)
    image[..., 0] = 1  # only the first column is known
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 0] = 0
    torch.testing.assert_close(build("onion_peel")(image, mask), torch.ones(1, 3, 8, 8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_onion_peel_with_a_limit_of_rings_is_the_same_fill_without_asking_the_device(device):
    image = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros(3, 1, 16, 16, device=device)
    mask[0, :, 4:12, 4:12], mask[1, :, :, 3:5], mask[2] = 1, 1, 1  # four rings, one ring, nothing known
    limited = OnionPeel(rings=8)(image * (1 - mask), mask)
    if device == "cpu":
        torch.testing.assert_close(limited, OnionPeel()(image * (1 - mask), mask), rtol=0, atol=0)
        inner = OnionPeel(rings=3)(image * (1 - mask), mask)[0, :, 7:9, 7:9]
        assert (inner == 0.5).all(), "what three rings do not reach is grey"


@pytest.mark.parametrize("start", ["onion_peel", "mean_fill"])
def test_a_fill_refiner_starts_as_its_fill_and_learns_in_the_hole_alone(start):
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 5:9, 2:14] = 1
    damaged = image * (1 - mask)
    network = build("fill_refiner", start=start, width=4)
    filled = network(damaged, mask)
    torch.testing.assert_close(filled, build(start)(damaged, mask), rtol=0, atol=0)
    filled.sub(image).square().mean().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= parameter.grad
        after = network(damaged, mask)
    changed = (after != filled).any(1, keepdim=True)
    assert changed.any()
    assert (mask[changed] == 1).all()


def test_fills_are_ranked_as_on_real_images(data_root):
    """For thin lines the neighbours are a better prediction than the mean of the image."""
    from trainables.config.sections import DataConfig
    from trainables.data import images
    from trainables.masks import families as masks

    config = DataConfig(name="folder", path="kodak24", size=64).model_dump()
    image = images.load(config, data_root).train.float() / 255
    draw = masks.draw({"name": "lines"}, len(image), masks.Canvas(64, None), torch.Generator().manual_seed(0))
    mask = draw.masks(torch.arange(len(image)), "cpu")
    error = {name: (build(name)(image * (1 - mask), mask) - image).square().mean().item() for name in FILLS}
    assert error["onion_peel"] < 0.5 * error["mean_fill"]
    assert error["telea"] < 0.5 * error["mean_fill"]
