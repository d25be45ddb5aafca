"""Metrics computed by trained networks, on the test split after the last epoch; optional because they need weights.

    lpips_alex, lpips_vgg, lpips_squeeze   learned perceptual similarity (Zhang et al. 2018) between composite and
                     image, averaged over images, 0 for equal images: the linear layers of torchmetrics on the
                     torchvision network of that name, which torchvision downloads. Values of different networks are
                     not comparable
    kid_squeezenet   kernel Inception distance (Binkowski et al. 2018) between composites and images, on the features of
                     SqueezeNet 1.0 instead of Inception; not comparable with published KID values
    fid              Fréchet Inception distance (Heusel et al. 2017) between composites and images, by torchmetrics, on
                     the 2048 features of the original TensorFlow network in torch-fidelity's port. It is biased upwards
                     for few images: only compare arms with equal numbers of images, and with published values only
                     from 10,000 images on
    u_ids, p_ids     unpaired and paired inception discriminative score (Zhao et al. 2021): a linear SVM (scikit-learn's
                     LinearSVC with dual=False, as in MAT's code) is fitted to tell the features of composites and
                     images apart. u_ids is its error rate on them, p_ids the share of composites that it takes for more
                     real than their own originals: 0 if it tells all apart, 0.5 if it tells nothing

Images smaller than LEAST_SIDE px are enlarged to it bilinearly, because LPIPS was fitted on images of 64 px. FID
resizes all images to 299 px, as it is defined.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.errors import TrialError

NETWORKS = {"lpips_alex": "alexnet", "lpips_vgg": "vgg16", "lpips_squeeze": "squeezenet1_1"}
"""The torchvision network of each LPIPS metric."""
NAMES = (*NETWORKS, "kid_squeezenet", "fid", "u_ids", "p_ids")
LEAST_SIDE = 64
SQUEEZENET = "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"
"""Path of SqueezeNet's weights below the data root: a NumPy archive with torchvision's parameter names."""
INCEPTION = "inception/pt_inception-2015-12-05-6726825d.pth"
"""Path of Inception's weights below the data root; if the file is missing, torch-fidelity downloads them (96 MB)."""
SUBSETS, SUBSET = 50, 1000
"""KID is the mean over SUBSETS random subsets of at most SUBSET images, drawn without replacement with a fixed seed."""

Floats = npt.NDArray[np.floating[Any]]
Features = Callable[[Tensor], Tensor]
"""Maps images (b, 3, h, w) in [0, 1] to features (b, d)."""


class Scorer(Protocol):
    """A metric of a whole split, accumulated batch by batch."""

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        """Add a batch; both arguments are in [0, 1]."""

    def compute(self) -> float:
        """The value over all batches."""


def scorers(names: Sequence[str], root: Path | None, device: torch.device) -> dict[str, Scorer]:
    """Create the scorers named in `names`. Raises TrialError if the weights of one are not available.

    root: the data root. Scorers that need Inception share one network, and U-IDS and P-IDS share one classifier.
    """
    of_inception = [name for name in names if name in ("fid", "u_ids", "p_ids")]
    found: dict[str, Scorer] = {}
    if of_inception:
        fid = Fid(root, device, of_inception[0])
        u_ids = DiscriminativeScore(fid.features)
        shared: dict[str, Scorer] = {"fid": fid, "u_ids": u_ids, "p_ids": PairedScore(u_ids, "u_ids" in names)}
        found = {name: shared[name] for name in of_inception}
    for name in names:
        if name not in found:
            found[name] = Lpips(name, device) if name in NETWORKS else Kid(squeezenet_features(root, device))
    return {name: found[name] for name in names}


class Lpips:
    """LPIPS of torchmetrics, float32 within a batch."""

    def __init__(self, name: str, device: torch.device) -> None:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        network = NETWORKS[name]
        kind: Any = name.removeprefix("lpips_")
        try:
            metric: Any = LearnedPerceptualImagePatchSimilarity(kind, normalize=True)
        except (OSError, RuntimeError) as error:
            raise TrialError(
                f"report.extra: {name}",
                f"it needs the ImageNet weights of {network}, which torchvision could not download or read "
                f"({' '.join(str(error).split())})",
                f"their .pth file in {torch.hub.get_dir()}/checkpoints, or network access so that torchvision can "
                "download it",
                f"python -c \"import torchvision; torchvision.models.{network}(weights='DEFAULT')\" with network "
                f"access, or remove {name}",
            ) from error
        self._metric = metric.to(device)

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        self._metric.update(enlarge(composite_b3hw), enlarge(image_b3hw))

    def compute(self) -> float:
        return float(self._metric.compute())


class Kid:
    """KID on arbitrary features."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        with torch.inference_mode():
            pair = self._features(composite_b3hw), self._features(image_b3hw)
        self._pairs.append((pair[0].double(), pair[1].double()))

    def compute(self) -> float:
        fake, real = (torch.cat(parts) for parts in zip(*self._pairs, strict=True))
        generator, size = torch.Generator().manual_seed(0), min(SUBSET, len(real))
        total = 0.0
        for _ in range(SUBSETS if size < len(real) else 1):
            fake_index, real_index = (torch.randperm(len(real), generator=generator)[:size] for _ in range(2))
            total += squared_discrepancy(fake[fake_index.to(fake.device)], real[real_index.to(real.device)])
        return total / (SUBSETS if size < len(real) else 1)


class Fid:
    """FID of torchmetrics on 8-bit images, without the antialiasing that the original network does not have."""

    def __init__(self, root: Path | None, device: torch.device, name: str = "fid") -> None:
        """Raises TrialError if torch-fidelity, whose network torchmetrics uses, or the weights are missing.

        name: of the metric, for the error.
        """
        path = None if root is None or not (root / INCEPTION).is_file() else root / INCEPTION
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance

            if path is not None:
                torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle any object
            metric = FrechetInceptionDistance(
                2048, feature_extractor_weights_path=str(path) if path else None, antialias=False
            )
        except (ImportError, OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrialError(
                f"report.extra: {name}",
                f"it needs torch-fidelity and the weights of Inception ({' '.join(str(error).split())[:200]})",
                f"{INCEPTION} below the data root, or network access so that torch-fidelity can download it",
                "pip install torch-fidelity, and download the weights on a machine with network access; or "
                f"remove {name}",
            ) from error
        metric.inception = _LastFeatures(metric.inception)
        self._metric: Any = metric.to(device)

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        for images, real in ((composite_b3hw, False), (image_b3hw, True)):
            self._metric.update(images.mul(255).round().to(torch.uint8), real=real)

    def compute(self) -> float:
        return float(self._metric.compute())

    def features(self, image_b3hw: Tensor) -> Tensor:
        """(b, 2048): the features of images in [0, 1], as 8 bits."""
        found: Tensor = self._metric.inception(image_b3hw.mul(255).round().to(torch.uint8))
        return found


class _LastFeatures(nn.Module):
    """A network that keeps the features of its last two batches, so that scorers which share it compute them once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._kept: deque[tuple[Tensor, Tensor]] = deque(maxlen=2)

    def forward(self, images: Tensor) -> Tensor:
        for known, features in self._kept:
            if torch.equal(known, images):
                return features
        found: Tensor = self.network(images)
        self._kept.append((images, found))
        return found


class DiscriminativeScore:
    """U-IDS on arbitrary features."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        with torch.inference_mode():
            self._pairs.append((self._features(composite_b3hw).cpu(), self._features(image_b3hw).cpu()))

    def compute(self) -> float:
        return self.both[0]

    @cached_property
    def both(self) -> tuple[float, float]:
        """U-IDS and P-IDS of all batches; no batch can be added afterwards."""
        fake, real = (torch.cat(parts).numpy() for parts in zip(*self._pairs, strict=True))
        return discriminative_scores(fake, real)


class PairedScore:
    """P-IDS, by the classifier of U-IDS."""

    def __init__(self, u_ids: DiscriminativeScore, updated: bool) -> None:
        """updated: whether `u_ids` is itself a scorer to which every batch is added."""
        self._u_ids, self._updated = u_ids, updated

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        if not self._updated:
            self._u_ids.update(composite_b3hw, image_b3hw)

    def compute(self) -> float:
        return self._u_ids.both[1]


def discriminative_scores(fake_nd: Floats, real_nd: Floats) -> tuple[float, float]:
    """U-IDS and P-IDS of the features of n fills and of their n originals, in the same order."""
    from sklearn.svm import LinearSVC  # more than a second, so it is imported where it is needed

    both = np.concatenate([real_nd, fake_nd])
    is_real = np.arange(len(both)) < len(real_nd)
    classifier = LinearSVC(dual=False).fit(both, is_real)
    of_real, of_fake = np.split(classifier.decision_function(both), [len(real_nd)])
    wrong = np.concatenate([of_real <= 0, of_fake > 0])
    return float(wrong.mean()), float((of_fake > of_real).mean())


def squared_discrepancy(x_nd: Tensor, y_nd: Tensor) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3; it can be negative.

    x_nd, y_nd: features of equal numbers of images, at least two.
    """
    n, d = x_nd.shape
    within = 0.0
    for features in (x_nd, y_nd):
        kernel = (features @ features.T / d + 1) ** 3
        within += float(kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
    return within - 2 * float(((x_nd @ y_nd.T / d + 1) ** 3).mean())


def squeezenet_features(root: Path | None, device: torch.device) -> Features:
    """The last 512 feature channels of a SqueezeNet 1.0 trained on ImageNet, averaged over the image.

    Raises TrialError if its weights are not below the data root.
    """
    from torchvision.models import squeezenet1_0

    path = None if root is None else root / SQUEEZENET
    if path is None or not path.is_file():
        raise TrialError(
            "report.extra: kid_squeezenet",
            "it needs a SqueezeNet 1.0 trained on ImageNet, but "
            + ("no data root is given" if path is None else f"{path} does not exist"),
            f"{SQUEEZENET} below the data root, a NumPy archive with torchvision's parameter names",
            "pass --data FOLDER with that file, or remove kid_squeezenet",
        )
    with np.load(path, allow_pickle=False) as archive:
        weights = {name: torch.from_numpy(archive[name]).float() for name in archive.files}
    network = squeezenet1_0(weights=None)
    network.load_state_dict(weights)
    layers = network.features.eval().to(device)
    mean, sd = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def features(image_b3hw: Tensor) -> Tensor:
        maps: Tensor = layers((enlarge(image_b3hw) - mean) / sd)
        return maps.mean((2, 3))

    return features


def enlarge(image_b3hw: Tensor) -> Tensor:
    """Enlarge images whose side is smaller than LEAST_SIDE px to LEAST_SIDE."""
    side = min(image_b3hw.shape[2:])
    if side >= LEAST_SIDE:
        return image_b3hw
    factor = LEAST_SIDE / side
    large = F.interpolate(image_b3hw, scale_factor=factor, mode="bilinear", align_corners=False)
    return large.clamp(0, 1)  # torchmetrics rejects values above 1, which rounding can give
