"""The part of a model's output that its reconstruction losses compare."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PredictedRegion:
    """The region of the output that the reconstruction losses compare, and how they compare it."""

    window: slice | None = None
    """Row and column range that the model predicts; None for the whole image."""
    known_weight: float = 1.0
    """Weight of the known pixels inside the window."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Range to which images in [0, 1] are mapped before they are compared."""

    def image(self, image_b3hw: Tensor) -> Tensor:
        """The predicted part of an image, in the model's own range."""
        low, high = self.value_range
        part_b3hw = self.crop(image_b3hw)
        return part_b3hw if (low, high) == (0, 1) else part_b3hw * (high - low) + low

    def crop(self, image_bchw: Tensor) -> Tensor:
        """The predicted part of an image or mask."""
        return image_bchw if self.window is None else image_bchw[:, :, self.window, self.window]
