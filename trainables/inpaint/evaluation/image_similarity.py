"""How alike two images are: structural similarity, overlap of their bright parts, cross entropy of their values.

Images are in [0, 1], (b, c, h, w). Every function gives a value for each image, (b,), and NaN where an image has NaN,
so that a network that diverged cannot look good.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHT = 0.5
"""Values above it are foreground where images are taken for segmentations."""
LEAST_PROBABILITY = 2.0**-20
"""Cross entropy takes values for at least this far from 0 and 1: a wholly wrong one costs 13.9 nats, not infinity."""


def ssim(output_bchw: Tensor, image_bchw: Tensor) -> Tensor:
    """Structural similarity of each image (b,): the mean over channels and over a window centred on every pixel.

    output_bchw: may have a leading dimension more, for several outputs of each image; so has the result then.

    Wang et al. 2004 with a Gaussian window of 11x11, sigma 1.5, K = (0.01, 0.03), data range 1, images continued by
    reflection; equals `torchmetrics.functional.image.structural_similarity_index_measure` of torchmetrics 1.9. The
    window is separable, so each direction is one product with a banded matrix: 12 times faster than a convolution on a
    CPU at 32 px, where SSIM would otherwise take longer than everything else in an evaluation. At least 6 px a side.
    """
    rows, columns = (_window(side).to(image_bchw) for side in image_bchw.shape[2:])
    x, y = output_bchw, image_bchw
    x_mean, xx, xy = (rows @ torch.stack([x, x * x, x * y]) @ columns.T).unbind()
    y_mean, yy = (rows @ torch.stack([y, y * y]) @ columns.T).unbind()
    x_variance, y_variance = (xx - x_mean * x_mean).clamp(min=0), (yy - y_mean * y_mean).clamp(min=0)
    covariance = xy - x_mean * y_mean
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * x_mean * y_mean + c1) / (x_mean * x_mean + y_mean * y_mean + c1)
    structure = (2 * covariance + c2) / (x_variance + y_variance + c2)
    return (luminance * structure).mean((-3, -2, -1))


@lru_cache(maxsize=8)
def _window(side: int) -> Tensor:
    """(side, side) float32: row i averages a signal around position i, reflected at its ends."""
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    weights = (-(offsets**2) / (2 * 1.5**2)).exp()
    weights /= weights.sum()
    identity = torch.eye(side, dtype=torch.float64)
    padded = F.pad(identity.unsqueeze(0), (5, 5), mode="reflect")[0]  # row j: where a unit at j is seen
    return padded.unfold(1, 11, 1).matmul(weights).T.float().contiguous()


def overlap(output_bchw: Tensor, image_bchw: Tensor) -> dict[str, Tensor]:
    """Dice in three forms and the intersection over union (IoU), over all values of all channels; float64.

    dice_soft      2 sum(pq) / (sum p + sum q)
    dice_squared   2 sum(pq) / (sum p^2 + sum q^2), Milletari et al. 2016: 1 for a perfect output, and for no other
    dice_binary    2 |P and Q| / (|P| + |Q|), P and Q where p and q are above BRIGHT
    iou            |P and Q| / |P or Q|

    002_e338281c6a46a1c1 sets goals of 0.5, 0.6 and 0.75 for "the Dice coefficient". By the soft form, which is made for
    values that are 0 or 1, they say nothing: on the 10,000 test images of CIFAR-100 a perfect output scores 0.593 in
    the mean (0.630 pooled), so 0.75 cannot be reached, a white image 0.635, more than the perfect one, and the images
    with a black hole of a quarter 0.514. Where neither image has anything to overlap, all forms are 1.
    """
    p, q = output_bchw.flatten(1), image_bchw.flatten(1)
    product, total, squares = _sum(p * q), _sum(p) + _sum(q), _sum(p * p) + _sum(q * q)
    bright_p, bright_q = (p > BRIGHT).float(), (q > BRIGHT).float()
    both, bright = _sum(bright_p * bright_q), _sum(bright_p) + _sum(bright_q)
    nan = product.isnan()
    return {
        "dice_soft": _ratio(2 * product, total),
        "dice_squared": _ratio(2 * product, squares),
        "dice_binary": _ratio(2 * both, bright).masked_fill(nan, torch.nan),
        "iou": _ratio(both, bright - both).masked_fill(nan, torch.nan),
    }


def cross_entropy(output_bchw: Tensor, image_bchw: Tensor) -> Tensor:
    """Mean of -q log p - (1 - q) log(1 - p) in nats, p the output's values and q the image's; float64.

    p is clamped, see LEAST_PROBABILITY. The least value is not 0 but the mean entropy of q, reached by a perfect
    output: only differences between outputs for the same images mean something.
    """
    p = output_bchw.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    gains = image_bchw * p.logit() + (-p).log1p()
    return -gains.mean((1, 2, 3), dtype=torch.float64)


def _sum(values_bn: Tensor) -> Tensor:
    return values_bn.sum(1, dtype=torch.float64)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return (part / whole).masked_fill(whole == 0, 1)
