"""Distance between filled and original images, per image and over a split. Source: DESIGN.md, "Metrics and honesty".

All images are in [0, 1] (outputs are clamped to it), and the mask is 1 in the holes. The composite keeps the known
pixels: image * (1 - mask) + output * mask. The value of a split is the mean of the values of its images.

    psnr_db, l1, l2, ssim   composite, over the whole image
    sse255                  composite, sum of squared errors over an image with values from 0 to 255
    dice_..., iou, cross_entropy   composite, see `image_similarity`
    ..._hole                over the hole pixels only; images without a hole are left out (no ssim: it needs windows)
    l1_seam                 over the hole pixels with a known pixel among their eight neighbours. Known pixels have no
                            error, so this is also the error of the step across the border: how visible the border is
    ..._raw                 network output without compositing, over the whole image
    ..._crop                network output without compositing, over a given centred square (no ssim)
    psnr_db..._pooled       from the squared error pooled over all pixels of all images
    hole_fraction           fraction of hole pixels
    ..._share_10_20         only over images with a hole of more than 10 % and at most 20 %, for SHARE_METRICS;
                            images_share_10_20 is the number of these images. Ranges as in Liu et al. 2018, plus one
                            for larger holes

PSNR is 10 log10(1 / mean squared error), at most 100 dB. Sums are float64.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.inpaint.evaluation.image_similarity import cross_entropy, overlap, ssim

METRICS = (
    *("psnr_db", "l1", "l2", "ssim", "sse255"),
    *("dice_soft", "dice_squared", "dice_binary", "iou", "cross_entropy"),
    *("psnr_db_hole", "l1_hole", "l2_hole", "l1_seam"),
    *("psnr_db_raw", "l1_raw", "l2_raw", "ssim_raw"),
    "hole_fraction",
)
CROP_METRICS = ("psnr_db_crop", "l1_crop", "l2_crop")
"""Additional metrics if a crop is given."""
SHARES = (0, 10, 20, 30, 40, 50, 60, 100)
"""Limits of the ranges of the hole fraction, %."""
SHARE_METRICS = ("psnr_db", "psnr_db_hole", "l1", "ssim")
"""Metrics that are also computed for each range of the hole fraction."""
PSNR_CAP_DB = 100.0


def psnr_db(l2: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for mean squared errors of images in [0, 1], capped at 100 dB."""
    return -10 * l2.clamp(min=10 ** (-PSNR_CAP_DB / 10)).log10()


def per_image(
    output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor, crop: slice | None = None
) -> dict[str, Tensor]:
    """All METRICS for each image, (b,) in float64; NaN if an image has no pixels to which a metric applies.

    crop: row and column range of CROP_METRICS, which are then appended.
    """
    output_b3hw = output_b3hw.float().clamp(0, 1)
    error = output_b3hw - image_b3hw
    cropped = {} if crop is None else _cropped(error[:, :, crop, crop])
    l1_raw, l2_raw = _mean(error.abs()), _mean(error.square())
    error = error * mask_b1hw  # error of the composite: known pixels have none
    distance = error.abs()
    l1, l2, hole = _mean(distance), _mean(error.square()), _mean(mask_b1hw)
    seam_b1hw = seam(mask_b1hw)
    composite = torch.where(mask_b1hw > 0.5, output_b3hw, image_b3hw)
    # Copies that are faster to read. The errors and the cross entropy keep their layout: it decides the order of sums.
    filled, original = composite.contiguous(), image_b3hw.contiguous()
    # One call for both, so that the statistics of the image are computed once. NaN in the output stays NaN.
    ssims = ssim(torch.stack([filled, output_b3hw]), original).double()
    return {
        "psnr_db": psnr_db(l2),
        "l1": l1,
        "l2": l2,
        "ssim": ssims[0],
        "sse255": l2 * (255**2 * image_b3hw[0].numel()),
        **overlap(filled, original),
        "cross_entropy": cross_entropy(composite, image_b3hw),
        "psnr_db_hole": psnr_db(l2 / hole),
        "l1_hole": l1 / hole,
        "l2_hole": l2 / hole,
        "l1_seam": _mean(distance * seam_b1hw) / _mean(seam_b1hw),
        "psnr_db_raw": psnr_db(l2_raw),
        "l1_raw": l1_raw,
        "l2_raw": l2_raw,
        "ssim_raw": ssims[1],
        "hole_fraction": hole,
        **cropped,
    }


def seam(mask_b1hw: Tensor) -> Tensor:
    """1 in the hole pixels with a known pixel among their eight neighbours."""
    padded = F.pad(mask_b1hw, (1, 1, 1, 1), value=1.0)  # pixels outside the image count as hole
    rows = padded[:, :, :-2].minimum(padded[:, :, 1:-1]).minimum(padded[:, :, 2:])
    inner = rows[..., :-2].minimum(rows[..., 1:-1]).minimum(rows[..., 2:])
    return mask_b1hw - inner


class Meter:
    """Accumulates METRICS over a split, batch by batch, without a device synchronisation before `compute`."""

    def __init__(self, crop: slice | None = None, by_share: bool = False, keep: tuple[str, ...] = ()) -> None:
        """crop: row and column range of CROP_METRICS; None to leave them out.

        by_share: also compute SHARE_METRICS for each range of the hole fraction.
        keep: metrics whose values for each image are returned by `kept`.
        """
        self.crop = crop
        self.keep = keep
        self._kept: list[Tensor] = []
        self.names = METRICS if crop is None else METRICS + CROP_METRICS
        self.shares = share_names() if by_share else ()
        self.totals = torch.zeros(len(self.names) + len(self.shares), 2, dtype=torch.float64)
        """(name, [sum of values, number of images with a value]); the totals of several workers can be added."""

    def update(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> None:
        """Add a batch."""
        with torch.no_grad():
            values = per_image(output_b3hw, image_b3hw, mask_b1hw, self.crop)
            self.totals = self.totals.to(output_b3hw.device)  # copies at the first batch only
            if self.keep:
                self._kept.append(torch.stack([values[name] for name in self.keep]).float())
            hole = values["hole_fraction"]
            has_hole, all_hole = hole > 0, hole == 1
            applies = {"_hole": has_hole, "_seam": has_hole & ~all_hole}
            counts = torch.stack([applies.get(name[-5:], hole >= 0) for name in values])
            self._add(torch.stack(list(values.values())), counts, slice(0, len(self.names)))
            if self.shares:
                borders = itertools.pairwise(SHARES)
                counts = torch.stack([(hole > low / 100) & (hole <= high / 100) for low, high in borders])
                shared = torch.stack([values[name] for name in SHARE_METRICS])
                self._add(
                    shared.repeat_interleave(len(counts), 0),
                    counts.repeat(len(SHARE_METRICS), 1),
                    slice(len(self.names), None),
                )

    def _add(self, values: Tensor, counts: Tensor, rows: slice) -> None:
        """values, counts: (row, b); values that are not counted may be NaN."""
        self.totals[rows, 0] += values.where(counts, 0).sum(1)
        self.totals[rows, 1] += counts.sum(1)

    def per_image(self) -> Tensor:
        """(name, n) float32 on the device: the metrics named in `keep`, for each image in the order of the updates."""
        return torch.cat(self._kept, 1) if self._kept else torch.empty(len(self.keep), 0)

    def compute(self) -> dict[str, float]:
        """The mean of every metric that applies to at least one image."""
        sums, counts = self.totals.cpu().unbind(1)
        names = (*self.names, *self.shares)
        mean = dict(zip(names, (sums / counts).unbind(), strict=True))
        # The composite only has errors in the holes: dividing its mean by the hole fraction gives the mean over holes.
        pooled = {
            "psnr_db_pooled": mean["l2"],
            "psnr_db_hole_pooled": mean["l2"] / mean["hole_fraction"],
            "psnr_db_raw_pooled": mean["l2_raw"],
        }
        if self.crop is not None:
            pooled["psnr_db_crop_pooled"] = mean["l2_crop"]
        counted = dict(zip(names, counts.tolist(), strict=True))
        values = {name: value.item() for name, value in mean.items() if counted[name]}
        values |= {
            name: psnr_db(l2).item()
            for name, l2 in pooled.items()
            if counted["l2_hole" if name == "psnr_db_hole_pooled" else "l2"]
        }
        first = SHARE_METRICS[0]
        images = {name.replace(first, "images", 1): counted[name] for name in share_names((first,)) if name in values}
        return {**values, **images}


def share_names(metrics: tuple[str, ...] = SHARE_METRICS) -> tuple[str, ...]:
    """Names of metrics for each range of the hole fraction, such as `psnr_db_share_10_20`, grouped by metric."""
    return tuple(f"{name}_share_{low}_{high}" for name in metrics for low, high in itertools.pairwise(SHARES))


def _cropped(error_bchw: Tensor) -> dict[str, Tensor]:
    l1, l2 = _mean(error_bchw.abs()), _mean(error_bchw.square())
    return {"psnr_db_crop": psnr_db(l2), "l1_crop": l1, "l2_crop": l2}


def _mean(values_bchw: Tensor) -> Tensor:
    return values_bchw.mean((1, 2, 3), dtype=torch.float64)
