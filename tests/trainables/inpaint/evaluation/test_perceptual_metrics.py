"""LPIPS and KID against torchmetrics, FID, U-IDS and P-IDS by hand, without downloads; errors for missing weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
from torchmetrics.image.kid import poly_mmd
from torchvision.models import squeezenet1_1

from sweeps.results import columns as record_columns
from trainables import schema
from trainables.errors import TrialError
from trainables.inpaint import task as inpaint
from trainables.inpaint.evaluation import perceptual_metrics, sharpness
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession

CPU = torch.device("cpu")
CONFIG = {
    "data": {"name": "cifar10", "size": 32, "train": 32, "val": 16, "test": 24},
    "mask": {"name": "centre", "fraction": 0.25},
    "model": {"name": "vanilla_autoencoder", "width": 2},
    "batch": 16,
}


def pair(b: int = 6, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(b, 3, side, side, generator=rng)
    return (image + 0.1 * torch.randn(image.shape, generator=rng)).clamp(0, 1), image


def trained(data_root: Path | None, extra: tuple[str, ...], **changes: object) -> MemorySession:
    resolved = schema.resolve("inpaint", {**CONFIG, "epochs": 2, **changes})
    session = MemorySession(Goal(resolved["epochs"], (1,), extra=extra), Machine(data_root=data_root))
    fit(inpaint, {**resolved, "seed": 0}, session)
    return session


def test_the_names_are_those_of_the_records() -> None:
    assert tuple(record_columns.EXTRA) == (*perceptual_metrics.NAMES, sharpness.NAME)


def test_discrepancy_is_that_of_torchmetrics() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 16, generator=rng).double(), 1.1 * torch.randn(40, 16, generator=rng).double()
    assert perceptual_metrics.squared_discrepancy(x, y) == pytest.approx(poly_mmd(y, x).item(), rel=1e-12)


def test_kid_on_any_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a subset's size over all images, above it a mean over fixed random subsets that is close to that."""
    output, image = pair(300, 8)

    def kid() -> float:
        meter = perceptual_metrics.Kid(lambda images: images.flatten(1)[:, :16])
        for part in range(0, 300, 100):
            meter.update(output[part : part + 100], image[part : part + 100])
        return meter.compute()

    def features(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :16].double()

    whole = perceptual_metrics.squared_discrepancy(features(output), features(image))
    assert kid() == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr(perceptual_metrics, "SUBSET", 150)
    assert kid() == kid() == pytest.approx(whole, abs=2e-3)


def test_kid_squeezenet_tells_noise_from_images(data_root: Path) -> None:
    data = inpaint.load(schema.resolve("inpaint", CONFIG), Machine(data_root=data_root))
    image = data.images.test / 255.0
    scores = []
    for noise in (0.02, 0.2):
        (meter,) = perceptual_metrics.scorers(["kid_squeezenet"], data_root, CPU).values()
        meter.update((image + noise * torch.randn(image.shape)).clamp(0, 1), image)
        scores.append(meter.compute())
    assert scores[0] < 0.1 * scores[1]


def test_lpips_is_that_of_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With untrained weights in torchvision's download cache: the test is about our use of the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(
        squeezenet1_1(weights=None).state_dict(), tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    )
    output, image = pair()
    (meter,) = perceptual_metrics.scorers(["lpips_squeeze"], None, CPU).values()
    meter.update(output[:2], image[:2])
    meter.update(output[2:], image[2:])
    large = [torch.nn.functional.interpolate(x, size=64, mode="bilinear").clamp(0, 1) for x in (output, image)]
    expected = learned_perceptual_image_patch_similarity(*large, net_type="squeeze", normalize=True)
    assert meter.compute() == pytest.approx(expected.item(), rel=1e-5)
    assert meter.compute() > 0


def test_without_weights_nothing_is_trained(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens on this port
    with pytest.raises(TrialError) as error:
        trained(data_root, ("lpips_alex",))
    assert "alexnet" in error.value.why
    assert str(tmp_path / "hub" / "checkpoints") in error.value.allowed
    with pytest.raises(TrialError, match="torch-fidelity"):
        perceptual_metrics.scorers(["fid"], None, CPU)
    with pytest.raises(TrialError) as error:
        perceptual_metrics.scorers(["kid_squeezenet"], tmp_path, CPU)
    assert perceptual_metrics.SQUEEZENET in error.value.allowed


@pytest.fixture
def inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights file below `tmp_path`, in place of which the network of FID gets random weights that keep a signal."""

    def load_state_dict(network: torch.nn.Module, _: object) -> None:
        source = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=source)

    file = tmp_path / perceptual_metrics.INCEPTION
    file.parent.mkdir()
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", load_state_dict)
    torch.save({}, file)
    return file


@pytest.mark.slow  # Inception three times; other tests cover the rest of FID
def test_fid_by_hand(tmp_path: Path, inception: Path) -> None:
    """On the features of torch-fidelity's own network for 8-bit images, over two batches."""
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(inception))
    (meter,) = perceptual_metrics.scorers(["fid"], tmp_path, CPU).values()
    output, image = pair(6)
    for part in (slice(0, 4), slice(4, 6)):
        meter.update(output[part], image[part])
    fake, real = (network((x * 255).round().to(torch.uint8))[0].double() for x in (output, image))
    fake_centred, real_centred = (x - x.mean(0) for x in (fake, real))
    # With fewer images than features, the trace of the root is a sum of singular values of a small matrix.
    root = torch.linalg.svdvals(fake_centred @ real_centred.T).sum()
    spread = fake_centred.square().sum() + real_centred.square().sum() - 2 * root
    expected = (fake.mean(0) - real.mean(0)).square().sum() + spread / 5
    assert meter.compute() == pytest.approx(expected.item(), rel=1e-4)
    assert meter.compute() > 0
    assert isinstance(meter, perceptual_metrics.Fid)
    assert torch.allclose(meter.features(output).double(), fake), "the features of U-IDS and P-IDS are those of FID"


def test_discriminative_scores_by_another_solver() -> None:
    """The linear SVM with squared hinge loss, its bias penalised as in LIBLINEAR, by scipy's L-BFGS."""
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (80, 5))
    fake = real + rng.normal(0.2, 0.6, (80, 5))
    x = np.hstack([np.vstack([real, fake]), np.ones((160, 1))])
    sign = np.repeat([1.0, -1.0], 80)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:  # type: ignore[type-arg]
        slack = np.maximum(0, 1 - sign * (x @ w))
        return 0.5 * w @ w + (slack**2).sum(), w - 2 * x.T @ (sign * slack)

    w = minimize(objective, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-14}).x
    score = x @ w
    expected = (np.mean(sign * score <= 0), np.mean(score[80:] > score[:80]))
    found = perceptual_metrics.discriminative_scores(fake, real)
    assert found == pytest.approx(expected)
    assert 0.2 < found[0] < 0.5
    assert 0 < found[1] < 0.5


def test_discriminative_scores_at_their_limits() -> None:
    real = np.random.default_rng(0).normal(0, 1, (100, 4))
    assert perceptual_metrics.discriminative_scores(real + 9, real) == (0, 0), "apart: every fill is recognised"
    u_ids, p_ids = perceptual_metrics.discriminative_scores(real, real)
    assert (u_ids, p_ids) == (pytest.approx(0.5), 0), "equal: no fill is more real than its original"
    images = torch.from_numpy(real).reshape(100, 4, 1, 1)
    for updated in (True, False):
        meter = perceptual_metrics.DiscriminativeScore(lambda image: image.flatten(1))
        paired = perceptual_metrics.PairedScore(meter, updated)
        for part in (slice(0, 60), slice(60, 100)):
            for one in (meter, paired) if updated else (paired,):
                one.update(images[part], images[part])
        assert (meter.compute(), paired.compute()) == (u_ids, p_ids)


def test_fid_refuses_a_file_that_does_not_hold_weights(tmp_path: Path, inception: Path) -> None:
    inception.write_bytes(pickle.dumps(Path("no weights"), 2))
    for name in ("fid", "u_ids"):
        with pytest.raises(TrialError) as error:
            perceptual_metrics.scorers([name], tmp_path, CPU)
        assert perceptual_metrics.INCEPTION in error.value.allowed
        assert name in error.value.given


@pytest.mark.parametrize("model", [CONFIG["model"], {"name": "mean_fill"}])
def test_it_is_told_after_the_last_epoch_alone(data_root: Path, model: object) -> None:
    rows = trained(data_root, ("kid_squeezenet",), model=model).result["history"]  # type: ignore[index]
    assert rows[-1]["test/kid_squeezenet"] > 0
    assert [row["epoch"] for row in rows if "test/kid_squeezenet" in row] == [rows[-1]["epoch"]]
