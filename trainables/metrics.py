"""How far a filled image is from the original, per image and over a split. Source: DESIGN.md, "Metrics and honesty".

All images are in [0, 1] (outputs are clamped to it), mask == 1 in the holes. The composite keeps the known pixels:
image * (1 - mask) + output * mask.

    psnr_db, l1, l2, ssim   of the composite, over the whole image; the mean over images of each image's value
    ..._hole                over the hole pixels only; images without a hole are left out (no ssim: it needs windows)
    ..._raw                 of the network's output without compositing, over the whole image
    ..._crop                of the network's output without compositing, over a given centred square (no ssim)
    psnr_db..._pooled       from the squared error pooled over all pixels of all images
    hole_fraction           share of hole pixels

PSNR is 10 log10(1 / mean squared error), at most 100 dB. Sums are in float64.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

METRICS = (
    *("psnr_db", "l1", "l2", "ssim"),
    *("psnr_db_hole", "l1_hole", "l2_hole"),
    *("psnr_db_raw", "l1_raw", "l2_raw", "ssim_raw"),
    "hole_fraction",
)
CROP_METRICS = ("psnr_db_crop", "l1_crop", "l2_crop")
"""Only where a crop is given."""
PSNR_CAP_DB = 100.0


def psnr_db(l2: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for mean squared errors of images in [0, 1], capped at 100 dB."""
    return -10 * l2.clamp(min=10 ** (-PSNR_CAP_DB / 10)).log10()


def per_image(
    output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor, crop: slice | None = None
) -> dict[str, Tensor]:
    """Each of METRICS for each image, (b,) in float64; the `_hole` values of an image without a hole are NaN.

    crop: the rows, and the columns, of CROP_METRICS, which then follow.
    """
    output_b3hw = output_b3hw.float().clamp(0, 1)
    error = output_b3hw - image_b3hw
    cropped = {} if crop is None else _cropped(error[:, :, crop, crop])
    l1_raw, l2_raw = _mean(error.abs()), _mean(error.square())
    error = error * mask_b1hw  # of the composite, whose known pixels have none
    l1, l2, hole = _mean(error.abs()), _mean(error.square()), _mean(mask_b1hw)
    composite = torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw)
    # Both in one batch: half the calls. NaN in the output stays NaN, so a diverged network cannot look good.
    ssims = ssim(torch.cat([composite, output_b3hw]), torch.cat([image_b3hw, image_b3hw])).double()
    return {
        "psnr_db": psnr_db(l2),
        "l1": l1,
        "l2": l2,
        "ssim": ssims[: len(l2)],
        "psnr_db_hole": psnr_db(l2 / hole),
        "l1_hole": l1 / hole,
        "l2_hole": l2 / hole,
        "psnr_db_raw": psnr_db(l2_raw),
        "l1_raw": l1_raw,
        "l2_raw": l2_raw,
        "ssim_raw": ssims[len(l2) :],
        "hole_fraction": hole,
        **cropped,
    }


class Meter:
    """Means of METRICS over a split, batch by batch, without asking the device before `compute`.

    crop: rows, and columns, over which CROP_METRICS are taken as well; None for none.
    totals: float64 (metric, [sum of values, number of images that have one]); several workers may add up theirs.
    """

    def __init__(self, crop: slice | None = None) -> None:
        self.crop = crop
        self.names = METRICS if crop is None else METRICS + CROP_METRICS
        self.totals = torch.zeros(len(self.names), 2, dtype=torch.float64)

    def update(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> None:
        """Count a batch."""
        with torch.no_grad():
            values = per_image(output_b3hw, image_b3hw, mask_b1hw, self.crop)
            self.totals = self.totals.to(output_b3hw.device)  # copies at the first batch only
            has_hole = values["hole_fraction"] > 0
            for row, (name, value) in enumerate(values.items()):
                counts = has_hole if name.endswith("_hole") else torch.ones_like(has_hole)
                self.totals[row, 0] += value.where(counts, 0).sum()
                self.totals[row, 1] += counts.sum()

    def compute(self) -> dict[str, float]:
        """Every metric that can be computed: no `_hole` where no image has a hole, nothing where there is no image."""
        sums, counts = self.totals.cpu().unbind(1)
        mean = dict(zip(self.names, (sums / counts).unbind(), strict=True))
        # The composite's error lies in the holes: its mean over all pixels, by their share, is the mean over the holes.
        pooled = {
            "psnr_db_pooled": mean["l2"],
            "psnr_db_hole_pooled": mean["l2"] / mean["hole_fraction"],
            "psnr_db_raw_pooled": mean["l2_raw"],
        }
        if self.crop is not None:
            pooled["psnr_db_crop_pooled"] = mean["l2_crop"]
        counted = dict(zip(self.names, counts.tolist(), strict=True))
        values = {name: value.item() for name, value in mean.items() if counted[name]}
        values |= {
            name: psnr_db(l2).item()
            for name, l2 in pooled.items()
            if counted["l2_hole" if name == "psnr_db_hole_pooled" else "l2"]
        }
        return values


def ssim(output_bchw: Tensor, image_bchw: Tensor) -> Tensor:
    """Structural similarity of each image (b,): the mean over channels and over a window centred on every pixel.

    Wang et al. 2004 with a Gaussian window of 11x11, sigma 1.5, K = (0.01, 0.03), data range 1, images continued by
    reflection; equals `torchmetrics.functional.image.structural_similarity_index_measure` of torchmetrics 1.9. The
    window is separable, so each direction is one product with a banded matrix: 12 times faster than a convolution on a
    CPU at 32 px, where SSIM would otherwise take longer than everything else in an evaluation. At least 6 px a side.
    """
    rows, columns = (_window(side).to(image_bchw) for side in image_bchw.shape[2:])
    x, y = output_bchw, image_bchw
    x_mean, y_mean, xx, yy, xy = (rows @ torch.stack([x, y, x * x, y * y, x * y]) @ columns.T).unbind()
    x_variance, y_variance = (xx - x_mean * x_mean).clamp(min=0), (yy - y_mean * y_mean).clamp(min=0)
    covariance = xy - x_mean * y_mean
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * x_mean * y_mean + c1) / (x_mean * x_mean + y_mean * y_mean + c1)
    structure = (2 * covariance + c2) / (x_variance + y_variance + c2)
    return (luminance * structure).mean((1, 2, 3))


@lru_cache(maxsize=8)
def _window(side: int) -> Tensor:
    """(side, side) float32: row i averages a signal around position i, reflected at its ends."""
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    weights = (-(offsets**2) / (2 * 1.5**2)).exp()
    weights /= weights.sum()
    identity = torch.eye(side, dtype=torch.float64)
    padded = F.pad(identity.unsqueeze(0), (5, 5), mode="reflect")[0]  # row j: where a unit at j is seen
    return padded.unfold(1, 11, 1).matmul(weights).T.float().contiguous()


def _cropped(error_bchw: Tensor) -> dict[str, Tensor]:
    l1, l2 = _mean(error_bchw.abs()), _mean(error_bchw.square())
    return {"psnr_db_crop": psnr_db(l2), "l1_crop": l1, "l2_crop": l2}


def _mean(values_bchw: Tensor) -> Tensor:
    return values_bchw.mean((1, 2, 3), dtype=torch.float64)
