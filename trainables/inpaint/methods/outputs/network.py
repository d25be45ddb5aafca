"""The reader of filled images, as a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.image_files import digest, open_image
from trainables.errors import TrialError
from trainables.inpaint.methods.outputs.config import Config
from trainables.inpaint.methods.outputs.file_names import file_name, to_uint8


class Outputs(nn.Module):
    """The reader; it has no parameters."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, damaged_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """image_b3hw in [0, 1]. Raises TrialError if an image is missing or has another size."""
        damaged, masks = to_uint8(damaged_b3hw), to_uint8(mask_b1hw)
        size = tuple(damaged_b3hw.shape[-2:])
        images = [self._read(file_name(*pair), size) for pair in zip(damaged, masks, strict=True)]
        return torch.stack(images).to(damaged_b3hw)

    def _read(self, name: str, size: tuple[int, ...]) -> Tensor:
        file = self.folder / name
        if not file.exists():
            raise TrialError(
                f"model.path: {self.folder}",
                f"it has no {name}, the name of a damaged test image of this study",
                "one filled image for each damaged test image, under the same name",
                "sweeps export-test NAME --out DIR, then fill the exported images: names change with images and masks",
                "model.path",
            )
        image = open_image(file, "model.path").convert("RGB")
        if (image.height, image.width) != size:
            raise TrialError(
                f"model.path: {file}",
                f"it is {image.width}x{image.height} px",
                f"{size[1]}x{size[0]} px, as the damaged image",
                f"save the image with {size[1]}x{size[0]} px",
                "model.path",
            )
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


def build(config: Config, size: int) -> nn.Module:  # noqa: ARG001 - any size
    """Build the reader. Raises TrialError if the folder does not hold the images that were planned."""
    folder = Path(config.path)
    if config.digest and digest(folder) != config.digest:
        raise TrialError(
            f"model.path: {folder}",
            "its files are not those that the sweep was planned with",
            "the same files on every machine, and while a sweep runs",
            "sweeps run FILE again, if these are the right files; or copy the folder to this machine",
            "model.path",
        )
    return Outputs(folder)
