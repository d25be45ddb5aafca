"""Perturbations of test images: compression, blur, noise, resizing. None of them moves the boxes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainables.training.loop import generator

BATCH = 256


def perturb(image_n3hw: Tensor, change: Mapping[str, Any]) -> Tensor:
    """Apply a resolved perturbation to uint8 images (n, 3, size, size), on their device; deterministic."""
    name, value = next((name, value) for name, value in change.items() if value is not None)
    if name in ("jpeg", "webp"):
        return torch.stack([_compressed(image_3hw, name, value) for image_3hw in image_n3hw.cpu()]).to(
            image_n3hw.device
        )
    parts, first = [], 0
    for part in torch.split(image_n3hw, BATCH):
        if name == "noise":
            parts.append(_to_bytes(part + value * _noise(part, first)))
        elif name == "blur":
            parts.append(_to_bytes(_blurred(part.float(), value)))
        else:
            parts.append(_to_bytes(_resized(part.float(), value)))
        first += len(part)
    return torch.cat(parts) if parts else image_n3hw


def _to_bytes(image_b3hw: Tensor) -> Tensor:
    return image_b3hw.round().clamp(0, 255).to(torch.uint8)


def _compressed(image_3hw: Tensor, kind: str, quality: int) -> Tensor:
    target = io.BytesIO()
    Image.fromarray(image_3hw.permute(1, 2, 0).numpy()).save(target, kind.upper(), quality=quality)
    with Image.open(target) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _noise(part_b3hw: Tensor, first: int) -> Tensor:
    """Standard normal noise, drawn on the CPU; that of an image depends on its index alone."""
    draws = [
        torch.randn(part_b3hw.shape[1:], generator=generator("evaluation", "noise", first + i))
        for i in range(len(part_b3hw))
    ]
    return torch.stack(draws).to(part_b3hw.device)


def _blurred(image_b3hw: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with a kernel of up to three standard deviations and mirrored borders."""
    reach = min(max(1, round(3 * sigma)), image_b3hw.shape[2] - 1)
    at = torch.arange(-reach, reach + 1, device=image_b3hw.device, dtype=torch.float32)
    weights = (-at.square() / (2 * sigma**2)).exp()
    row = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = F.pad(image_b3hw, (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(padded, row, groups=3), row.transpose(2, 3), groups=3)


def _resized(image_b3hw: Tensor, factor: float) -> Tensor:
    side = image_b3hw.shape[2]
    there = max(1, round(factor * side))
    return resize(resize(image_b3hw, there), side)


def resize(image_b3hw: Tensor, side: int) -> Tensor:
    """Bilinear interpolation, with antialiasing when downscaling."""
    if image_b3hw.shape[2] == side:
        return image_b3hw
    return F.interpolate(image_b3hw, (side, side), mode="bilinear", align_corners=False, antialias=True)
