"""The names under which damaged images are exported and filled images are read."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def to_uint8(image_bchw: Tensor) -> Tensor:
    """Convert values in [0, 1] to uint8 on the CPU."""
    return image_bchw.mul(255).round().to(torch.uint8).cpu()


def file_name(damaged_3hw: Tensor, mask_1hw: Tensor) -> str:
    """File name for a damaged image (uint8) and its mask (uint8, 255 in holes): 16 hex digits of a hash, `.png`."""
    content = damaged_3hw.contiguous().numpy().tobytes() + mask_1hw.contiguous().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16] + ".png"
