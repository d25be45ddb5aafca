"""Options of the small convolutional networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.config.model_sections import DetectorConfig


class Config(DetectorConfig):
    width: int = Field(16, ge=1, le=256, description="channels of the first stage")
    depth: int = Field(2, ge=1, le=8, description="convolutions per stage")
    kernel: Literal[3, 5, 7] = Field(3, description="side of the kernels, px")
    stages: int = Field(3, ge=1, le=6, description="number of stages; each halves the side")
    head: Literal["label", "box", "mask"] = Field(
        "label", description="label; box: label and box; mask: a mask from which both are derived"
    )

    def least_input(self) -> int:
        return max(8, 1 << self.stages)

    def gives(self) -> tuple[str, ...]:
        return {"label": ("logit",), "box": ("logit", "box"), "mask": ("logit", "mask")}[self.head]
