"""Metrics and pictures of individual test images.

`per_image.npz` is stored with the final sample pictures. It holds a float32 array (n,) for each of NAMES, in the order
of the test images, computed after the last epoch with the trial's own masks, and `caption_hits` if the trial has a
judge. It contains no pickles: read it with `allow_pickle=False`. `worst` selects the images of the `worst-*.png`.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from torch import Tensor

from trainables.inpaint.dataset import InpaintDataset, png

NAMES = ("psnr_db", "psnr_db_hole", "l1", "ssim", "hole_fraction")
"""Metrics stored for each image; `psnr_db_hole` is NaN for an image without a hole."""
FILE = "per_image.npz"
WORST = 8


def pack(values: Tensor, hits_n: Tensor | None = None) -> bytes:
    """Encode values (name, n), and `Judge.hits` as `caption_hits`, as `per_image.npz`; the bytes are reproducible."""
    target = io.BytesIO()
    arrays = dict(zip(NAMES, values.float().cpu().numpy(), strict=True))
    if hits_n is not None:
        arrays["caption_hits"] = hits_n.float().cpu().numpy()
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()


def worst(values: Tensor, most: int = WORST) -> Tensor:
    """Indices of the images with the lowest PSNR in their holes, worst first; ties keep the order of the images."""
    psnr = values[NAMES.index("psnr_db_hole")].float().cpu()
    order = psnr.argsort(stable=True)  # NaN (no hole) comes last
    return order[: min(most, int(psnr.isfinite().sum()))]


def strips(fill: Callable[..., Tensor], data: InpaintDataset, index: Tensor) -> dict[str, bytes]:
    """PNG strips of the test images at `index`, by file name: truth, mask, damaged, output and composite.

    fill: called like `Method.fill`.
    """
    image_b3hw, mask_b1hw = data.batch("test", index, data.evaluation_masks["test"])
    output_b3hw = fill(image_b3hw, mask_b1hw, data.text("test", index))
    pictures = {
        "truth": image_b3hw,
        "mask": mask_b1hw.expand_as(image_b3hw),
        "damaged": image_b3hw * (1 - mask_b1hw),
        "output": output_b3hw,
        "composite": image_b3hw * (1 - mask_b1hw) + output_b3hw * mask_b1hw,
    }
    return {f"{name}.png": png(strip) for name, strip in pictures.items()}
