"""Perturbations of test images: compression, blur, noise, resizing. None of them moves the boxes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainables import registry
from trainables.code.signatures import place as line_of
from trainables.config.code_checks import described
from trainables.detect.change_config import steps_of
from trainables.errors import TrialError
from trainables.training.loop import generator

BATCH = 256


def perturb(image_n3hw: Tensor, change: Mapping[str, Any], first: int = 0) -> Tensor:
    """Apply a resolved change to uint8 images (n, 3, h, w), on their device; deterministic.

    first: index of the first image, on which its random numbers depend.
    """
    for number, step in enumerate(steps_of(change)):
        image_n3hw = _perturbed(image_n3hw, step, () if number == 0 else (number,), first)
    return image_n3hw


def _perturbed(image_n3hw: Tensor, change: Mapping[str, Any], place: tuple[int, ...], first: int) -> Tensor:
    """Images after one perturbation. place: what distinguishes its random numbers from those of other steps."""
    if "name" in change:
        return _changed_by_user(image_n3hw, change, place, first)
    name, value = next((name, value) for name, value in change.items() if value is not None)
    if name in ("jpeg", "webp"):
        return torch.stack([_compressed(image_3hw, name, value) for image_3hw in image_n3hw.cpu()]).to(
            image_n3hw.device
        )
    parts = []
    for part in torch.split(image_n3hw, BATCH):
        if name in ("noise_sd", "noise"):
            parts.append(_to_bytes(part + value * _noise(part, first, place)))
        elif name == "blur":
            parts.append(_to_bytes(_blurred(part.float(), value)))
        else:
            parts.append(_to_bytes(_resized(part.float(), value)))
        first += len(part)
    return torch.cat(parts) if parts else image_n3hw


def check_change(section: Mapping[str, Any], root: Path | None) -> None:  # noqa: ARG001 - as every check
    """Raise TrialError if a perturbation cannot be applied to an image of noise, or changes none of its pixels.

    section: the `change`, its `label`, and the `size` of the images, px.
    """
    label, change, side = (section[key] for key in ("label", "change", "size"))
    image_13hw = torch.randint(0, 256, (1, 3, side, side), generator=generator("check"), dtype=torch.uint8)
    for step in steps_of(change):
        if not torch.equal(perturb(image_13hw, step), image_13hw):
            continue
        given = {name: value for name, value in step.items() if value is not None}
        raise TrialError(
            f"test_changes.{label}: {given}",
            f"it changes no pixel of an image of noise ({side} px)",
            "a change that is large enough to be seen in 8 bits",
            f"a stronger change, or remove `test_changes.{label}`",
            f"test_changes.{label}",
        )


def _changed_by_user(image_n3hw: Tensor, change: Mapping[str, Any], place: tuple[int, ...], first: int) -> Tensor:
    """Images after a user's function, one by one on the CPU; what it draws depends on the index of the image alone."""
    code = registry.find("change", change["name"])
    function, options = code.function(), code.options(change).model_dump()
    changed_n3hw = torch.empty_like(image_n3hw, device="cpu")
    for index, pixels_3hw in enumerate(image_n3hw.cpu()):
        source = generator("evaluation", "change", *place, first + index)
        inputs = {"image": pixels_3hw.float() / 255, "generator": source}
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.initial_seed())
            try:
                image_3hw = function(**{name: inputs[name] for name in code.inputs}, **options)
            except Exception as error:
                why = f"it raised {type(error).__name__}: {error} ({line_of(error, described(function))})"
                raise _change_error(function, why, "let it accept every image in [0, 1] of shape (3, h, w)") from error
        if not isinstance(image_3hw, Tensor) or image_3hw.shape != pixels_3hw.shape:
            shape = f"a tensor {tuple(image_3hw.shape)}" if isinstance(image_3hw, Tensor) else type(image_3hw).__name__
            raise _change_error(function, f"it returned {shape} for {tuple(pixels_3hw.shape)}", "return such an image")
        if not image_3hw.is_floating_point() or not image_3hw.isfinite().all():
            what = "NaN or infinity" if image_3hw.is_floating_point() else f"a tensor of {image_3hw.dtype}"
            raise _change_error(function, f"it returned {what}", "return an image in [0, 1]")
        changed_n3hw[index] = _to_bytes(image_3hw * 255)
    return changed_n3hw.to(image_n3hw.device)


def _change_error(function: Any, why: str, fix: str) -> TrialError:
    allowed = "an image of the same shape with finite values in [0, 1]; holes must stay where they are"
    return TrialError(f"test_changes: {described(function)}", why, allowed, fix, "test_changes")


def _to_bytes(image_b3hw: Tensor) -> Tensor:
    return image_b3hw.round().clamp(0, 255).to(torch.uint8)


def _compressed(image_3hw: Tensor, kind: str, quality: int) -> Tensor:
    target = io.BytesIO()
    Image.fromarray(image_3hw.permute(1, 2, 0).numpy()).save(target, kind.upper(), quality=quality)
    with Image.open(target) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _noise(part_b3hw: Tensor, first: int, place: tuple[int, ...]) -> Tensor:
    """Standard normal noise, drawn on the CPU; that of an image depends on its index alone."""
    draws = [
        torch.randn(part_b3hw.shape[1:], generator=generator("evaluation", "noise", *place, first + i))
        for i in range(len(part_b3hw))
    ]
    return torch.stack(draws).to(part_b3hw.device)


def _blurred(image_b3hw: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with a kernel of up to three standard deviations and mirrored borders."""
    reach = min(max(1, round(3 * sigma)), min(image_b3hw.shape[2:]) - 1)
    at = torch.arange(-reach, reach + 1, device=image_b3hw.device, dtype=torch.float32)
    weights = (-at.square() / (2 * sigma**2)).exp()
    row = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = F.pad(image_b3hw, (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(padded, row, groups=3), row.transpose(2, 3), groups=3)


def _resized(image_b3hw: Tensor, factor: float) -> Tensor:
    height, width = image_b3hw.shape[2:]
    there = max(1, round(factor * height)), max(1, round(factor * width))
    return _interpolated(_interpolated(image_b3hw, there), (height, width))


def resize(image_b3hw: Tensor, side: int) -> Tensor:
    """Bilinear interpolation of squares, with antialiasing when downscaling."""
    return _interpolated(image_b3hw, (side, side))


def _interpolated(image_b3hw: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image_b3hw.shape[2:]) == size:
        return image_b3hw
    return F.interpolate(image_b3hw, size, mode="bilinear", align_corners=False, antialias=True)
