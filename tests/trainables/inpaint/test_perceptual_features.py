"""Feature networks against torchvision's, their weights, and the terms of Liu et al. 2018 that need them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import losses, perceptual_features
from trainables.inpaint import task as inpaint
from trainables.inpaint.perceptual_features import Features
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

SQUEEZENET = {"name": "squeezenet1_0", "weights": "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"}
CONFIG = {
    "data": {"name": "cifar10", "train": 16, "val": 4, "test": 4},
    "mask": {"name": "lines"},
    "model": {"name": "partial_conv_unet", "width": 4},
    "loss": {"valid": 1.0, "hole": 6.0, "perceptual": 0.05, "style": 120.0, "tv": 0.1},
    "batch": 8,
}


def test_the_layers_are_torchvisions() -> None:
    """Equal maps for equal weights, and equal download URLs."""
    from torchvision import models
    from torchvision.models import vgg

    theirs = {"vgg16": vgg.make_layers(vgg.cfgs["D"]), "squeezenet1_0": models.squeezenet1_0(weights=None).features}
    urls = {"vgg16": models.VGG16_Weights, "squeezenet1_0": models.SqueezeNet1_0_Weights}
    assert perceptual_features.NETWORKS.keys() == perceptual_features.URLS.keys() == theirs.keys()
    image = torch.rand(2, 3, 32, 32)
    for name, layers in theirs.items():
        assert perceptual_features.URLS[name] == urls[name].IMAGENET1K_V1.url
        ours = perceptual_features.NETWORKS[name]()
        ours.features.load_state_dict(
            {key: value for key, value in layers.state_dict().items() if key in ours.features.state_dict()}
        )
        maps, expected = (image - ours.mean) / ours.std, []
        with torch.no_grad():
            for index, layer in enumerate(layers[: max(ours.levels) + 1]):
                maps = layer(maps)
                if index in ours.levels:
                    assert isinstance(layer, torch.nn.MaxPool2d)
                    expected.append(maps.clone())
        for ours_maps, their_maps in zip(ours(image), expected, strict=True):
            torch.testing.assert_close(ours_maps, their_maps)


def test_real_weights_tell_photographs_apart(data_root: Path) -> None:
    """Changing one pixel of a photograph gives a smaller loss than another photograph."""
    network = perceptual_features.load(SQUEEZENET, data_root)
    assert perceptual_features.load(SQUEEZENET, data_root) is network
    assert not any(p.requires_grad for p in network.parameters())
    files = [data_root / "kodak24" / f"kodim{number}.png" for number in ("01", "20")]
    one, other = (
        torch.from_numpy(np.array(Image.open(file).resize((64, 64)))).permute(2, 0, 1)[None] / 255 for file in files
    )
    touched = one.clone()
    touched[..., 5, 5] = 0
    hole = torch.ones(1, 1, 64, 64)
    for term in (losses.perceptual, losses.style):
        same, near, far = (term(network.compare(x, one, hole)).item() for x in (one, touched, other))
        assert 0 <= 100 * same < 3 * near < far


def test_weights_that_cannot_be_had_are_told_in_four_parts(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**section: str | None) -> TrialError:
        with pytest.raises(TrialError) as caught:
            perceptual_features.load({"name": "vgg16", "weights": None, **section}, tmp_path)
        assert all((caught.value.given, caught.value.why, caught.value.allowed, caught.value.fix))
        return caught.value

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    error = refused()
    assert "no route to host" in error.why
    assert "vgg16-397923af.pth" in error.fix
    assert "does not exist" in refused(weights="none.npz").why
    (tmp_path / "s.npz").symlink_to(data_root / SQUEEZENET["weights"])
    assert "Missing key" in refused(weights="s.npz").why, "another network's"
    for name in ("text.npz", "text.pth"):
        (tmp_path / name).write_text("no weights")
        assert "does not hold" in refused(weights=name).why
    with pytest.raises(TrialError, match="16 px"):
        perceptual_features.load({"name": "squeezenet1_0", "weights": "s.npz"}, tmp_path, side=16)


def test_downloaded_weights_are_taken_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = perceptual_features.squeezenet1_0().state_dict() | {"classifier.1.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "checkpoints" / perceptual_features.URLS["squeezenet1_0"].rpartition("/")[2])
    network = perceptual_features.load({"name": "squeezenet1_0", "weights": None}, tmp_path)
    assert torch.equal(network.features[0].weight, state["features.0.weight"])


# --- the terms by hand ------------------------------------------------------------------------------------------------


@pytest.fixture
def maps() -> Features:
    """Two levels of two images, in float64."""
    source = torch.Generator().manual_seed(0)

    def levels() -> list[Tensor]:
        return [torch.randn(2, c, s, s, dtype=torch.float64, generator=source) for c, s in ((3, 4), (5, 2))]

    return Features(levels(), levels(), levels())


def test_perceptual_by_hand(maps: Features) -> None:
    total = 0.0
    for given in (maps.output, maps.composite):
        for level, truth in zip(given, maps.truth, strict=True):
            total += sum(
                abs(a - b) for a, b in zip(level.flatten().tolist(), truth.flatten().tolist(), strict=True)
            ) / (truth.numel())
    assert losses.perceptual(maps).item() == pytest.approx(total, rel=1e-12)


def test_style_by_hand(maps: Features) -> None:
    def gram(level: Tensor, b: int, i: int, j: int) -> float:
        _, c, h, w = level.shape
        return sum(level[b, i, y, x].item() * level[b, j, y, x].item() for y in range(h) for x in range(w)) / (
            c * h * w
        )

    total = 0.0
    for given in (maps.output, maps.composite):
        for level, truth in zip(given, maps.truth, strict=True):
            c = level.shape[1]
            pairs = [(b, i, j) for b in range(2) for i in range(c) for j in range(c)]
            total += sum(abs(gram(level, *p) - gram(truth, *p)) for p in pairs) / len(pairs)
    assert losses.style(maps).item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("term", [losses.perceptual, losses.style])
def test_gradients_reach_the_output_through_both_of_its_forms(term: Callable[[Features], Tensor]) -> None:
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3), torch.nn.Tanh())
    network = perceptual_features.FeatureNetwork(layers, (1, 3), 6).double()
    source = torch.Generator().manual_seed(1)
    output, image = (torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=source) for _ in range(2))
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    mask[..., 2:5, 3:7] = 1
    output.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: term(network.compare(x, image, mask)), output)
    assert term(network.compare(image, image, mask)).item() == pytest.approx(0, abs=1e-12)


# --- in a trial -------------------------------------------------------------------------------------------------------


def test_a_trial_learns_from_the_papers_loss(data_root: Path) -> None:
    config = {**schema.resolve("inpaint", {**CONFIG, "features": SQUEEZENET, "epochs": 3}), "seed": 1}
    session = MemorySession(Goal(3), Machine(data_root=data_root))
    fit(inpaint, config, session)
    first, last = session.rows[0], session.rows[-1]
    total = sum(weight * first[f"train/{name}"] for name, weight in CONFIG["loss"].items())
    assert first["train/loss"] == pytest.approx(total, rel=1e-5)
    assert last["train/loss"] < first["train/loss"]


def test_the_section_is_there_only_where_a_term_needs_it() -> None:
    needs = schema.resolve("inpaint", CONFIG)
    assert needs["features"] == {"name": "vgg16", "weights": None}
    without = schema.resolve("inpaint", {**CONFIG, "loss": {"valid": 1.0}, "features": SQUEEZENET})
    assert without["features"] is None
    assert "features" not in schema.identity("inpaint", without, 0)
    assert schema.resolve("inpaint", {**CONFIG, "model": {"name": "telea"}})["features"] is None
    with pytest.raises(TrialError, match="vgg19"):
        schema.resolve("inpaint", {**CONFIG, "features": {"name": "vgg19"}})
