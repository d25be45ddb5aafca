"""The losses of TDANet that its generator computes: l1_scales and kl."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.training.precision import as_given

Gaussian = tuple[Tensor, Tensor]
"""Mean and standard deviation of each element of a code."""


def l1_scales(images: Sequence[Tensor], truth_b3hw: Tensor) -> Tensor:
    """Mean absolute errors, summed over the sizes of the images and over the two batches of each size."""
    total = truth_b3hw.new_zeros(())
    for image_2b3hw in images:
        scaled_b3hw = F.adaptive_avg_pool2d(truth_b3hw, image_2b3hw.shape[-1])
        for made_b3hw in image_2b3hw.chunk(2):
            total = total + (made_b3hw - scaled_b3hw).abs().mean()
    return total


def kl_terms(prior: Gaussian, posterior: Gaussian) -> Tensor:
    """KL divergence between standard normal and posterior, plus that between the detached posterior and the prior."""
    with as_given(prior[0].device):
        mu, sigma = posterior
        standard = torch.zeros_like(mu), torch.ones_like(sigma)
        return kl(standard, posterior) + kl((mu.detach(), sigma.detach()), prior)


def kl(first: Gaussian, second: Gaussian) -> Tensor:
    """KL(first || second), averaged over all elements of the code."""
    (mu, sigma), (other_mu, other_sigma) = first, second
    spread = (sigma.square() + (mu - other_mu).square()) / (2 * other_sigma.square())
    return ((other_sigma / sigma).log() + spread - 0.5).mean()
