"""What of a model's output its reconstruction losses compare."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Scope:
    """What of a model's output the loss terms compare, and how.

    window: the rows, and the columns, that the model predicts; None for all.
    known_weight: of the known pixels among them.
    value_range: the images' [0, 1] is mapped to it first.
    """

    window: slice | None = None
    known_weight: float = 1.0
    value_range: tuple[float, float] = (0.0, 1.0)

    def image(self, image_b3hw: Tensor) -> Tensor:
        """The predicted part of an image, in the model's own range."""
        low, high = self.value_range
        part_b3hw = self.crop(image_b3hw)
        return part_b3hw if (low, high) == (0, 1) else part_b3hw * (high - low) + low

    def crop(self, image_bchw: Tensor) -> Tensor:
        """The predicted part of an image or mask."""
        return image_bchw if self.window is None else image_bchw[:, :, self.window, self.window]
