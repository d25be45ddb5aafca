"""The test images one by one: what each of them scored, and the pictures of some of them.

`per_image.npz` lies beside the final sample pictures: an array (n,) in float32 for each of NAMES, in the order of the
test images, after the last epoch and under the trial's own masks, and `caption_hits` where the trial has a judge. It
holds no pickles: read it with `allow_pickle=False`. `worst` gives the images of the `worst-*.png` beside it.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from torch import Tensor

from trainables.inpaint.dataset import Data, png

NAMES = ("psnr_db", "psnr_db_hole", "l1", "ssim", "hole_fraction")
"""Metrics that are kept for each image; NaN in `psnr_db_hole` where an image has no hole."""
FILE = "per_image.npz"
WORST = 8


def pack(values: Tensor, hits_n: Tensor | None = None) -> bytes:
    """`per_image.npz` of values (name, n), and of `Judge.hits` as `caption_hits`; equal values give equal bytes."""
    target = io.BytesIO()
    arrays = dict(zip(NAMES, values.float().cpu().numpy(), strict=True))
    if hits_n is not None:
        arrays["caption_hits"] = hits_n.float().cpu().numpy()
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()


def worst(values: Tensor, most: int = WORST) -> Tensor:
    """Numbers of the images with the lowest PSNR in their holes, the worst first, the earlier one of equal ones."""
    psnr = values[NAMES.index("psnr_db_hole")].float().cpu()
    order = psnr.argsort(stable=True)  # NaN, where there is no hole, comes last
    return order[: min(most, int(psnr.isfinite().sum()))]


def strips(fill: Callable[..., Tensor], data: Data, index: Tensor) -> dict[str, bytes]:
    """Test images side by side, as PNG: truth, mask, damaged, output, composite. fill: as `Inpainter.fill`."""
    image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
    output_b3hw = fill(image_b3hw, mask_b1hw, *data.text("test", index))
    pictures = {
        "truth": image_b3hw,
        "mask": mask_b1hw.expand_as(image_b3hw),
        "damaged": image_b3hw * (1 - mask_b1hw),
        "output": output_b3hw,
        "composite": image_b3hw * (1 - mask_b1hw) + output_b3hw * mask_b1hw,
    }
    return {f"{name}.png": png(strip) for name, strip in pictures.items()}
