"""A TorchScript file with the interface of LaMa, (image, mask) -> image, as a fill that is not trained here."""

import warnings
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F


def lama(image, mask, file: Path):
    """file: an absolute path, or one relative to the sweep file. Its content is part of the trial."""
    height, width = image.shape[2:]
    border = (0, -width % 8, 0, -height % 8)  # LaMa takes multiples of 8 px
    filled = _load(file, image.device)(F.pad(image, border, "reflect"), F.pad(mask, border, "reflect"))
    return filled[..., :height, :width]


@cache
def _load(file, device):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch plans to remove TorchScript
        return torch.jit.load(file, map_location=device).eval()
