"""The regression on high-pass residuals, and its fit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.detect.blocks.high_pass import srm_kernels
from trainables.detect.detectors.high_pass_probe.config import Config
from trainables.detect.output import DetectorOutput
from trainables.forgery.forged_images import LabelledImages

BLOCK = 8
"""Side of the blocks whose residuals are compared, px; half the side of images below 16 px."""
BATCH = 256
FLOOR = 0.01
"""Added to residuals before taking the logarithm, grey levels."""


class HighPassProbe(nn.Module):
    """A linear layer on `statistics`, standardised to mean 0 and deviation 1."""

    kernels: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.register_buffer("kernels", srm_kernels(), persistent=False)
        n = 6 * len(self.kernels)
        for name, start in (("mean", 0.0), ("deviation", 1.0), ("weight", 0.0)):
            self.register_buffer(name, torch.full((n,), start))
        self.register_buffer("bias", torch.zeros(()))

    def statistics(self, image_b3hw: Tensor) -> Tensor:
        """(b, 6 per kernel): statistics of the blocks' log mean absolute residual, and the log of the highest residual.

        The statistics are mean, standard deviation, minimum, first quartile and median.
        """
        grey = F.pad(255 * image_b3hw.mean(1, keepdim=True), (2, 2, 2, 2), mode="reflect")
        residual_bkhw = F.conv2d(grey, self.kernels).abs()
        block = min(BLOCK, image_b3hw.shape[2] // 2)
        part_bkm = F.avg_pool2d(residual_bkhw, block, max(1, block // 2)).flatten(2)
        part_bkm = (part_bkm + FLOOR).log()
        quantiles = torch.quantile(part_bkm, torch.tensor([0.0, 0.25, 0.5], device=part_bkm.device), 2)
        highest = (residual_bkhw.flatten(2).amax(2) + FLOOR).log()
        columns = [part_bkm.mean(2), part_bkm.std(2), *quantiles, highest]
        return torch.stack(columns, 2).flatten(1)

    def forward(self, image_b3hw: Tensor) -> DetectorOutput:
        feature_bf = (self.statistics(image_b3hw) - self.mean) / self.deviation
        return DetectorOutput(feature_bf @ self.weight + self.bias, feature_bf=feature_bf)


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - common signature of all models
    """The baseline; any size of 8 px or more."""
    return HighPassProbe(config.strength)


def learn(network: nn.Module, train: LabelledImages) -> None:
    """Fit the baseline to the training images with scikit-learn; deterministic."""
    from sklearn.linear_model import LogisticRegression

    assert isinstance(network, HighPassProbe)
    parts = torch.split(train.image_n3hw, BATCH)
    with torch.no_grad():
        statistics_nf = torch.cat([network.statistics(part.float() / 255) for part in parts])
    network.mean.copy_(statistics_nf.mean(0))
    network.deviation.copy_(statistics_nf.std(0).clamp(min=1e-6))
    scaled_nf = (statistics_nf - network.mean) / network.deviation
    regression = LogisticRegression(C=network.strength, max_iter=2000)
    regression.fit(scaled_nf.cpu().double().numpy(), train.label_n.cpu().numpy() > 0.5)
    network.weight.copy_(torch.from_numpy(regression.coef_[0]))
    network.bias.copy_(torch.tensor(regression.intercept_[0]))
