"""Options of the detector on a classifier of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from trainables.config.model_sections import DetectorConfig

LEAST_INPUT: Mapping[str, int] = {"alexnet": 63, "inception_v3": 75, "maxvit_t": 224, "vit_": 224}
"""Smallest sides of input images by backbone name or prefix, px; 32 px for all others."""


class Config(DetectorConfig):
    backbone: str = Field("resnet18", description="name of a classifier in torchvision")
    weights: str = Field(
        "none",
        min_length=1,
        description="imagenet: downloaded from torchvision; none: random; or a .pth or .npz file below the data root",
    )
    head: Literal["label", "box", "mask"] = Field(
        "box", description="label; box: label and box; mask: a mask from which both are derived"
    )
    high_pass: Literal["srm", "bayar"] | None = Field(
        None,
        description="three additional input channels of fixed (srm) or learned (bayar) high-pass residuals; null: none",
    )

    def pretrained(self) -> bool:
        return self.weights != "none"

    def least_input(self) -> int:
        return next((side for name, side in LEAST_INPUT.items() if self.backbone.startswith(name)), 32)

    def gives(self) -> tuple[str, ...]:
        return {"label": ("logit",), "box": ("logit", "box"), "mask": ("logit", "mask")}[self.head]
