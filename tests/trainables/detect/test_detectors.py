"""The networks of task `detect`: every backbone that the documents name, weights, high-pass filters, baselines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.forgery.forged_small import small
from trainables import registry
from trainables.detect import boxes
from trainables.detect.blocks import high_pass
from trainables.detect.detectors.constant_box import network as constant_box
from trainables.detect.detectors.detector import network as detector
from trainables.detect.detectors.detector.config import Config
from trainables.detect.detectors.high_pass_probe import network as high_pass_probe
from trainables.detect.detectors.majority import network as majority
from trainables.detect.detectors.search_net import network as search_net
from trainables.errors import TrialError

SQUEEZENET = "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"
PARAMETERS = {
    # millions with a head of five outputs; MODELS.md section 8.1 where it lists them, else torchvision's less its head
    **{"alexnet": 57.02, "vgg11": 128.79, "resnet18": 11.18, "resnet34": 21.29, "resnet50": 23.52},
    **{"resnext101_32x8d": 86.75, "swin_t": 27.52, "efficientnet_b0": 4.01, "efficientnet_b4": 17.56},
    **{"convnext_tiny": 27.82, "squeezenet1_0": 0.738, "mnasnet1_0": 3.11},
}
SMALL = ("alexnet", "resnet18", "swin_t", "efficientnet_b0", "squeezenet1_0", "mnasnet1_0")


def config(**options: Any) -> Config:
    return Config(**options)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_backbone_builds_and_has_its_parameters(name: str) -> None:
    options = config(backbone=name)
    with torch.device("meta"):
        network = detector.build(options, options.least_input())
        found = network(torch.zeros(2, 3, options.least_input(), options.least_input()))
    assert found.logit_b.shape == (2,)
    assert found.box_b4.shape == (2, 4)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.006)


@pytest.mark.parametrize(
    "name", ["densenet121", "googlenet", "inception_v3", "mobilenet_v3_small", "shufflenet_v2_x0_5"]
)
def test_other_classifiers_of_torchvision_work_by_the_same_code(name: str) -> None:
    options = config(backbone=name, head="label")
    network = detector.build(options, options.least_input()).eval()
    side = options.least_input()
    found = network(torch.rand(2, 3, side, side))
    assert found.logit_b.shape == (2,)
    assert found.box_b4 is None
    assert found.feature_bf.shape == (2, network.head.linear.in_features)


@pytest.mark.parametrize("head", ["box", "mask"])
@pytest.mark.parametrize("name", SMALL)
def test_it_learns_at_its_default_size(name: str, head: str) -> None:
    """One backward pass in training mode, where batch normalisation has maps of one pixel."""
    options = config(backbone=name, head=head, high_pass="srm")
    side = options.least_input()
    network = detector.build(options, side)
    found = network(torch.rand(2, 3, side, side))
    output = found.mask_logit_b1hw if head == "mask" else found.box_b4
    (found.logit_b.sum() + output.square().sum()).backward()
    assert output.shape == ((2, 1, side, side) if head == "mask" else (2, 4))
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert [name for name, p in network.trunk.named_parameters() if p.grad is None] == []


def test_an_untrained_box_is_the_central_one() -> None:
    """On average over networks; a single one has its own random weights beside the bias."""
    found = []
    for seed in range(24):
        torch.manual_seed(seed)
        network = search_net.build(registry.model("search_net").config(head="box", width=4), 32)
        found.append(network(torch.zeros(3, 3, 32, 32)).box_b4[0].detach())
    assert torch.stack(found).mean(0).tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.15)


@pytest.mark.parametrize("name", ["resnet50", "resnext101_32x8d"])
def test_a_mask_is_read_from_maps_whose_modules_are_called_again(name: str) -> None:
    """A bottleneck uses one ReLU both at the end of its block and between its convolutions, at another size."""
    options = config(backbone=name, head="mask")
    with torch.device("meta"):
        found = detector.build(options, 64)(torch.zeros(2, 3, 64, 64))
    assert found.mask_logit_b1hw.shape == (2, 1, 64, 64)


def test_a_backbone_without_maps_has_no_mask() -> None:
    with pytest.raises(TrialError, match="sequences"):
        detector.build(config(backbone="vit_b_16", head="mask"), 224)


def test_an_unknown_backbone_is_told() -> None:
    with pytest.raises(TrialError) as caught:
        detector.build(config(backbone="resnet19"), 32)
    assert "resnet18" in str(caught.value)
    with pytest.raises(TrialError, match="fasterrcnn"):
        detector.build(config(backbone="fasterrcnn_resnet50_fpn"), 32)


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("head", ["label", "box", "mask"])
def test_search_nets(stages: int, head: Any) -> None:
    network = search_net.build(
        registry.model("search_net").config(width=4, depth=2, kernel=5, stages=stages, head=head), 24
    )
    found = network(torch.rand(2, 3, 24, 24))
    assert [found.box_b4 is not None, found.mask_logit_b1hw is not None] == [head == "box", head == "mask"]
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.trunk.modules()) == 2 * stages


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_of_a_file_are_in_the_trunk(data_root: Path) -> None:
    options = config(backbone="squeezenet1_0", weights=SQUEEZENET, high_pass="bayar")
    network = detector.build(options, 32)
    before = network.trunk.features[0].weight[:, 3:].clone()
    detector.load_pretrained(network, options, data_root)
    with np.load(data_root / SQUEEZENET) as arrays:
        for name in ("features.3.squeeze.weight", "features.12.expand3x3.bias"):
            np.testing.assert_array_equal(network.trunk.state_dict()[name].numpy(), arrays[name])
        np.testing.assert_array_equal(
            network.trunk.features[0].weight[:, :3].detach().numpy(), arrays["features.0.weight"]
        )
    assert torch.equal(network.trunk.features[0].weight[:, 3:], before), "the branch's weights stay drawn"


def test_its_features_are_those_of_the_classifier(data_root: Path) -> None:
    """With torchvision's last layer restored, the logits equal the classifier's."""
    from torchvision.models import squeezenet1_0

    options = config(backbone="squeezenet1_0", weights=SQUEEZENET, head="label")
    network = detector.build(options, 64).eval()
    detector.load_pretrained(network, options, data_root)
    whole = squeezenet1_0().eval()
    with np.load(data_root / SQUEEZENET) as arrays:
        whole.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = whole.features(network.prepared(image))
        torch.testing.assert_close(network(image).feature_bf, maps.mean((2, 3)))


def test_weights_of_another_network_name_its_layers(data_root: Path) -> None:
    options = config(backbone="resnet18", weights=SQUEEZENET)
    with pytest.raises(TrialError) as caught:
        detector.load_pretrained(detector.build(options, 32), options, data_root)
    assert "layer1.0.conv1.weight" in str(caught.value) or "conv1.weight is missing" in str(caught.value)


def test_weights_of_another_shape_name_both(tmp_path: Path, data_root: Path) -> None:
    with np.load(data_root / SQUEEZENET) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    state["features.0.weight"] = state["features.0.weight"][:90]
    torch.save(state, tmp_path / "cut.pth")
    options = config(backbone="squeezenet1_0", weights="cut.pth")
    with pytest.raises(TrialError, match=r"features.0.weight is \(90, 3, 7, 7\), not \(96, 3, 7, 7\)"):
        detector.load_pretrained(detector.build(options, 32), options, tmp_path)
    (tmp_path / "cut.pth").write_bytes(b"nothing")
    with pytest.raises(TrialError, match="cannot be read"):
        detector.load_pretrained(detector.build(options, 32), options, tmp_path)


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    options = config(backbone="mnasnet1_0", weights="imagenet")
    with pytest.raises(TrialError) as caught:
        detector.load_pretrained(detector.build(options, 32), options, None)
    text = str(caught.value)
    assert "the download of https://download.pytorch.org" in text
    assert str(tmp_path / "checkpoints") in text


# --- high-pass filters ------------------------------------------------------------------------------------------------


def test_residuals_are_zero_where_nothing_changes() -> None:
    flat = torch.full((1, 3, 16, 16), 0.4)
    ramp = torch.arange(16).view(1, 1, 1, 16).expand(1, 3, 16, 16) / 64
    assert high_pass.Srm()(flat).abs().max() < 1e-3
    assert high_pass.Srm()(ramp)[..., 4:-4].abs().max() < 1e-3, "second differences of a ramp"
    assert high_pass.Bayar()(flat).abs().max() < 1e-6
    assert high_pass.Srm()(torch.rand(1, 3, 16, 16)).abs().max() == 1


def test_bayars_constraint_holds_at_every_step() -> None:
    layer = high_pass.Bayar()
    optimiser = torch.optim.SGD(layer.parameters(), 1e-4)
    image = torch.rand(2, 3, 16, 16)
    for _ in range(5):
        optimiser.zero_grad()
        layer(image).square().sum().backward()
        optimiser.step()
        assert torch.equal(layer.kernels[:, :, 2, 2], torch.full((3, 3), -1.0))
        torch.testing.assert_close(layer.kernels.sum((2, 3)), torch.zeros(3, 3), atol=1e-5, rtol=0)


# --- baselines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 0.5, 0.155), (0.2, 0.5, 0.214), (0.1, 0.9, 0.337), (0.25, 0.75, 0.384)]
)
def test_the_best_constant_box_of_uniform_boxes(low: float, high: float, expected: float) -> None:
    """MODELS.md section 1.4: boxes with sides of these fractions of the image, at uniformly random places."""

    def drawn(seed: int) -> torch.Tensor:
        side, place = torch.rand(2, 4000, 2, generator=torch.Generator().manual_seed(seed))
        side = low + (high - low) * side
        corner = place * (1 - side)
        return torch.cat([corner, corner + side], 1)

    best, fresh = constant_box.best_box(drawn(0)), drawn(1)
    assert boxes.iou(best.expand_as(fresh), fresh).mean().item() == pytest.approx(expected, abs=0.01)


def test_the_constant_box_learns_from_positives_alone(data_root: Path) -> None:
    train = small(data_root).train
    network = constant_box.build(registry.model("constant_box").config(), 32)
    constant_box.learn(network, train)
    moved = replace(train, box_n4=torch.where(train.label_n[:, None] > 0.5, train.box_n4, 0.5))
    other = constant_box.build(registry.model("constant_box").config(), 32)
    constant_box.learn(other, moved)
    assert torch.equal(network.box, other.box)


def test_the_majority(data_root: Path) -> None:
    train = small(data_root).train
    network = majority.build(registry.model("majority").config(), 32)
    for index, share in ((torch.arange(64), 0.5), (torch.tensor([0, 2, 4, 1]), 0.25)):
        majority.learn(network, train.take(index))
        assert network(torch.zeros(3, 3, 32, 32)).logit_b.sigmoid().tolist() == pytest.approx([share] * 3)


def test_the_probe_finds_a_fill_without_noise(data_root: Path) -> None:
    data = small(data_root)
    network = high_pass_probe.build(registry.model("high_pass_probe").config(), 32)
    high_pass_probe.learn(network, data.train)
    said = network(data.test.image_n3hw.float() / 255).logit_b > 0
    assert (said == (data.test.label_n > 0.5)).float().mean() > 0.65
