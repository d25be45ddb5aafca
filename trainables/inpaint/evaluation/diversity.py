"""Diversity of the fills of a model that samples, and the quality of the best sample.

    spread                   mean absolute difference of two draws over the hole, averaged over all pairs and images
    psnr_db_hole_best_draw   PSNR over the hole of the best draw of each image, averaged over images; it grows with the
                             number of draws
    psnr_db_hole_mean_draw   PSNR over the hole of every draw, averaged over draws and images

Images without a hole are left out. The generator of a draw depends on the split, the first image of the batch and the
number of the draw, but not on the seed of the trial.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.inpaint.dataset import InpaintDataset, evaluation_batch
from trainables.inpaint.evaluation.metrics import psnr_db
from trainables.training.loop import generator

BATCH = 32
"""Maximum number of images whose draws are in memory at the same time; `evaluation_batch` may give fewer."""


def split_diversity(fill: Callable[..., Tensor], data: InpaintDataset, split: str, draws: int) -> dict[str, float]:
    """Compute the diversity metrics of a split.

    fill: called like `Method.fill`, with `generator=` for each draw.
    """
    values_by_name: dict[str, list[Tensor]] = {}
    for index in torch.split(torch.arange(len(data.split(split))), min(BATCH, evaluation_batch(data.canvas.size))):
        image_b3hw, mask_b1hw = data.batch(split, index, data.evaluation_masks[split])
        text = data.text(split, index)
        draws_kb3hw = torch.stack(
            [
                fill(image_b3hw, mask_b1hw, text, generator=generator("draw", split, int(index[0]), k))
                for k in range(draws)
            ]
        )
        for name, value_b in image_diversity(draws_kb3hw, image_b3hw, mask_b1hw).items():
            values_by_name.setdefault(name, []).append(value_b)
    values = {name: torch.cat(parts).double() for name, parts in values_by_name.items()}
    return {name: value_n.mean().item() for name, value_n in values.items() if len(value_n)}


def image_diversity(draws_kb3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, Tensor]:
    """Each metric for each image that has a hole, (b,)."""
    holed_b = mask_b1hw.amax((1, 2, 3)) > 0
    draws_kb3hw, image_b3hw, mask_b1hw = draws_kb3hw[:, holed_b], image_b3hw[holed_b], mask_b1hw[holed_b]
    k, pixels_b = len(draws_kb3hw), mask_b1hw.sum((1, 2, 3)) * image_b3hw.shape[1]
    # Sum over all pairs: of the k sorted values, value i is added i times and subtracted k - 1 - i times.
    weight_k = torch.arange(k, device=image_b3hw.device) * 2 - (k - 1)
    apart_b3hw = (draws_kb3hw.sort(0).values * weight_k.view(-1, 1, 1, 1, 1)).sum(0) / (k * (k - 1) / 2)
    error_kb = ((draws_kb3hw - image_b3hw) * mask_b1hw).square().sum((2, 3, 4)) / pixels_b
    psnr_kb = psnr_db(error_kb)
    return {
        "spread": (apart_b3hw * mask_b1hw).sum((1, 2, 3)) / pixels_b,
        "psnr_db_hole_best_draw": psnr_kb.amax(0),
        "psnr_db_hole_mean_draw": psnr_kb.mean(0),
    }
