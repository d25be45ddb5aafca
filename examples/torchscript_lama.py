"""A TorchScript file with the interface of LaMa, (image, mask) -> image, as a fill that is not trained here."""

import os
import warnings
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F


def lama(image, mask, file: str = "big-lama.pt"):
    """file: an absolute path, or one in the folder that SWEEPS_DATA names. It is read when the first hole is filled."""
    height, width = image.shape[2:]
    border = (0, -width % 8, 0, -height % 8)  # LaMa takes multiples of 8 px
    filled = _load(file, image.device)(F.pad(image, border, "reflect"), F.pad(mask, border, "reflect"))
    return filled[..., :height, :width]


@cache
def _load(file, device):
    path = Path(os.environ.get("SWEEPS_DATA", ""), file)
    if not path.is_file():
        raise FileNotFoundError(f"model.file: there is no file {path}; give an absolute path, or set SWEEPS_DATA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch plans to remove TorchScript
        return torch.jit.load(path, map_location=device).eval()
