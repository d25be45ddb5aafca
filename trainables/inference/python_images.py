"""Images and masks that are given as Python objects: paths, PIL images, NumPy arrays and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from trainables.errors import TrialError
from trainables.inference import user_images
from trainables.inference.user_images import Mask, Picture

ImageLike: TypeAlias = str | Path | Image.Image | npt.NDArray[Any] | Tensor
"""A path; a PIL image; an array (height, width), perhaps with 3 or 4 channels last; a tensor (3, height, width) or
(1, 3, height, width). Numbers are 8-bit, or floating-point in [0, 1]."""
MaskLike: TypeAlias = ImageLike | Sequence[int]
"""x, y, width, height in px; or an image, array or tensor that is white, or 1, in the hole."""
_ABOVE = 1e-3
"""Rounding errors of floating-point images that are accepted outside [0, 1]."""


def picture(image: ImageLike) -> Picture:
    """The picture of an image. TrialError if it cannot be used."""
    if isinstance(image, (str, Path)):
        return user_images.read(Path(image))
    named = f"image of type {type(image).__name__}"
    return _decoded(image if isinstance(image, Image.Image) else Image.fromarray(_bytes(image, named)), named)


def hole(mask: MaskLike, of: Picture) -> Mask:
    """The hole of a mask, upright. TrialError if it does not fit the picture, is empty, or covers all of it."""
    if isinstance(mask, (str, Path)):
        return user_images.read_hole(str(mask), of)
    named = f"mask of type {type(mask).__name__}"
    if isinstance(mask, Image.Image):
        return user_images.hole_of(named, _decoded(mask, named), of)
    if isinstance(mask, (np.ndarray, Tensor)):
        values = _array(mask)
        if values.dtype != bool and values.size and set(np.unique(values).tolist()) <= {0, 1}:
            values = values.astype(bool)
        return user_images.hole_of(named, _decoded(Image.fromarray(_bytes(values, named)), named), of)
    if isinstance(mask, Sequence) and len(mask) == 4:
        return user_images.read_hole(",".join(map(str, mask)), of)
    raise TrialError(
        named, "it is neither four numbers nor an image", "(x, y, width, height) in px, or an image", "(10, 10, 40, 30)"
    )


def same_kind(given: ImageLike, made: Image.Image, hole_hw: Mask) -> Any:
    """A filled image as the kind of object that was given: of an array or tensor, a copy with other values in the hole.

    made: as `Picture.filled` returns it. hole_hw: upright, as arrays and tensors are.
    """
    if not isinstance(given, (np.ndarray, Tensor)):
        return made
    values: npt.NDArray[Any] = np.asarray(made)
    if isinstance(given, Tensor):
        channels = torch.from_numpy(values.copy()).reshape(*hole_hw.shape, -1).movedim(-1, 0)
        scaled = channels if given.dtype == torch.uint8 else channels / 255
        return torch.where(
            torch.from_numpy(hole_hw.copy()).to(given.device), scaled.to(given).reshape(given.shape), given
        )
    values = (values if given.dtype == np.uint8 else values / 255).astype(given.dtype).reshape(given.shape)
    return np.where(hole_hw.reshape(*hole_hw.shape, *[1] * (given.ndim - 2)), values, given)


def _decoded(image: Image.Image, named: str) -> Picture:
    try:
        return user_images.decode(image, Path(f"<{named}>"))
    except (OSError, ValueError) as error:
        if isinstance(error, TrialError):
            raise
        raise TrialError(
            named, f"it does not decode: {error}", "a colour or grey image", "image.convert('RGB')"
        ) from None


def _array(values: Any) -> npt.NDArray[Any]:
    """An array with its channels last, of an array or a tensor with its channels first."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    array: npt.NDArray[Any] = values.detach().cpu().numpy()
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def _bytes(values: Any, named: str) -> npt.NDArray[np.uint8]:
    """8-bit values (height, width) or (height, width, channels). TrialError for other shapes, types and ranges."""
    array = _array(values)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)) or not array.size:
        raise TrialError(
            f"{named} and shape {tuple(getattr(values, 'shape', ()))}",
            "it is not the shape of one image",
            "an array (height, width, 3), or a tensor (3, height, width)",
            "array.transpose(1, 2, 0) moves the channels of an array to its end",
        )
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise TrialError(named, f"its values are {array.dtype}", "8-bit values, or floats in [0, 1]", "image / 255")
    low, high = float(array.min()), float(array.max())
    if not (low >= -_ABOVE and high <= 1 + _ABOVE):
        raise TrialError(named, f"its values are from {low:.4g} to {high:.4g}", "floats in [0, 1]", "image / 255")
    return (array.clip(0, 1) * 255).round().astype(np.uint8)
