"""Scores by trained networks, for the test split after the last epoch: options, as they need those networks' weights.

    lpips_alex, lpips_vgg, lpips_squeeze   learned perceptual similarity (Zhang et al. 2018) of the composite to the
                     image, mean over images, 0 for equal ones: torchmetrics' linear layers on torchvision's network of
                     that name, which torchvision downloads. Figures of different networks cannot be compared
    kid_squeezenet   kernel Inception distance (Binkowski et al. 2018) between composites and images, on the features of
                     a SqueezeNet 1.0 instead of Inception's, so it stands beside no published KID
    fid              Fréchet Inception distance (Heusel et al. 2017) between composites and images, on the 2048 features
                     of the original TensorFlow network, by torch-fidelity; too large with few images: compare arms with
                     as many, and published figures only with 10,000 or more

Images below LEAST_SIDE px are enlarged to it, bilinearly: 64 px is the size at which LPIPS was fitted. FID enlarges all
of them to 299 px, by its own definition.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.errors import TrialError

NETWORKS = {"lpips_alex": "alexnet", "lpips_vgg": "vgg16", "lpips_squeeze": "squeezenet1_1"}
"""What torchvision calls the network of each LPIPS."""
NAMES = (*NETWORKS, "kid_squeezenet", "fid")
LEAST_SIDE = 64
SQUEEZENET = "squeezenet1_0/squeezenet1_0_torchvision_layout.npz"
"""Where its weights lie below the data root: torchvision's parameter names in a NumPy archive."""
INCEPTION = "inception/pt_inception-2015-12-05-6726825d.pth"
"""Where Inception's weights are looked for below the data root; without them, torch-fidelity downloads them (96 MB)."""
SUBSETS, SUBSET = 50, 1000
"""KID is the mean over so many subsets of at most so many images, drawn without replacement and always the same."""

Features = Callable[[Tensor], Tensor]
"""(b, 3, h, w) in [0, 1] to (b, d)."""


class Scorer(Protocol):
    """A figure of a whole split, batch by batch."""

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        """Count a batch; both in [0, 1]."""

    def compute(self) -> float:
        """The figure over all batches."""


def scorers(names: Sequence[str], root: Path | None, device: torch.device) -> dict[str, Scorer]:
    """The scorers of some NAMES. Raises TrialError where the weights of one are not to be had.

    root: the data root.
    """
    made: dict[str, Callable[[], Scorer]] = {
        "kid_squeezenet": lambda: Kid(squeezenet_features(root, device)),
        "fid": lambda: Fid(inception_features(root, device)),
    }
    return {name: Lpips(name, device) if name in NETWORKS else made[name]() for name in names}


class Lpips:
    """See the module; float32 within a batch, as in torchmetrics."""

    def __init__(self, name: str, device: torch.device) -> None:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        network = NETWORKS[name]
        kind: Any = name.removeprefix("lpips_")
        try:
            made: Any = LearnedPerceptualImagePatchSimilarity(kind, normalize=True)
        except (OSError, RuntimeError) as error:
            raise TrialError(
                f"report.extra: {name}",
                f"it needs the ImageNet weights of {network}, which torchvision could not download or read "
                f"({' '.join(str(error).split())})",
                f"their .pth file in {torch.hub.get_dir()}/checkpoints, or a connection over which torchvision gets it",
                f"python -c \"import torchvision; torchvision.models.{network}(weights='DEFAULT')\" where there is "
                f"one, or leave {name} out",
            ) from error
        self._metric = made.to(device)

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        self._metric.update(enlarged(composite_b3hw), enlarged(image_b3hw))

    def compute(self) -> float:
        return float(self._metric.compute())


class Kid:
    """KID on any features, those of a trained trial's network too."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._found: list[tuple[Tensor, Tensor]] = []

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        with torch.inference_mode():
            pair = self._features(composite_b3hw), self._features(image_b3hw)
        self._found.append((pair[0].double(), pair[1].double()))

    def compute(self) -> float:
        fake, real = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        generator, size = torch.Generator().manual_seed(0), min(SUBSET, len(real))
        total = 0.0
        for _ in range(SUBSETS if size < len(real) else 1):
            chosen_fake, chosen_real = (torch.randperm(len(real), generator=generator)[:size] for _ in range(2))
            total += squared_discrepancy(fake[chosen_fake.to(fake.device)], real[chosen_real.to(real.device)])
        return total / (SUBSETS if size < len(real) else 1)


class Fid:
    """FID on any features. Sums in float64 are all that is kept, however many images there are."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._sums: list[tuple[int, Tensor, Tensor]] = []

    def update(self, composite_b3hw: Tensor, image_b3hw: Tensor) -> None:
        with torch.inference_mode():
            found = [self._features(images).double() for images in (composite_b3hw, image_b3hw)]
        new = [(len(x_bd), x_bd.sum(0), x_bd.T @ x_bd) for x_bd in found]
        old = self._sums or [(0, torch.zeros_like(total), torch.zeros_like(outer)) for _, total, outer in new]
        self._sums = [(n + m, a + b, c + d) for (n, a, c), (m, b, d) in zip(old, new, strict=True)]

    def compute(self) -> float:
        moments = [(total / n, outer / (n - 1) - total.outer(total) / n / (n - 1)) for n, total, outer in self._sums]
        return frechet_distance(*moments[0], *moments[1])


def frechet_distance(mean_d: Tensor, covariance_dd: Tensor, other_d: Tensor, other_dd: Tensor) -> float:
    """The squared distance of two normal distributions (Fréchet 1957), in float64."""
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues, none below 0.
    roots = torch.linalg.eigvals(covariance_dd @ other_dd).real.clamp(min=0).sqrt().sum()
    gap = (mean_d - other_d).square().sum()
    return float(gap + covariance_dd.trace() + other_dd.trace() - 2 * roots)


def squared_discrepancy(x_nd: Tensor, y_nd: Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3.

    It can be below 0. x_nd, y_nd: features of as many images each, at least two.
    """
    n, d = x_nd.shape
    within = 0.0
    for features in (x_nd, y_nd):
        kernel = (features @ features.T / d + 1) ** 3
        within += float(kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
    return within - 2 * float(((x_nd @ y_nd.T / d + 1) ** 3).mean())


def squeezenet_features(root: Path | None, device: torch.device) -> Features:
    """The 512 channels that an ImageNet-trained SqueezeNet 1.0 classifies from, averaged over the image.

    Raises TrialError where its weights do not lie below the data root.
    """
    from torchvision.models import squeezenet1_0

    path = None if root is None else root / SQUEEZENET
    if path is None or not path.is_file():
        raise TrialError(
            "report.extra: kid_squeezenet",
            f"it needs a SqueezeNet 1.0 trained on ImageNet, and {path or 'the data root, which is not given,'} is not "
            "there",
            f"{SQUEEZENET} below the data root, a NumPy archive with torchvision's parameter names",
            "--data FOLDER with that file, or leave kid_squeezenet out",
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
        found: Tensor = layers((enlarged(image_b3hw) - mean) / sd)
        return found.mean((2, 3))

    return features


def inception_features(root: Path | None, device: torch.device) -> Features:
    """The 2048 features of FID. Raises TrialError where torch-fidelity or the weights are missing."""
    path = None if root is None or not (root / INCEPTION).is_file() else root / INCEPTION
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        if path is not None:
            torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would also run what is no weights
        made: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], path and str(path))
    except (ImportError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrialError(
            "report.extra: fid",
            f"it needs torch-fidelity and Inception's weights ({' '.join(str(error).split())[:200]})",
            f"{INCEPTION} below the data root, or a connection over which torch-fidelity gets it",
            "pip install torch-fidelity, get the weights where there is a connection, or leave fid out",
        ) from error
    network = made.to(device).eval()

    def features(image_b3hw: Tensor) -> Tensor:
        found: Tensor = network(image_b3hw.mul(255).round().to(torch.uint8))[0]
        return found

    return features


def enlarged(image_b3hw: Tensor) -> Tensor:
    """At least LEAST_SIDE px a side."""
    side = min(image_b3hw.shape[2:])
    if side >= LEAST_SIDE:
        return image_b3hw
    factor = LEAST_SIDE / side
    large = F.interpolate(image_b3hw, scale_factor=factor, mode="bilinear", align_corners=False)
    return large.clamp(0, 1)  # torchmetrics refuses what rounding puts above 1
