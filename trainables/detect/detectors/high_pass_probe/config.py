"""Options of the regression on high-pass residuals."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from trainables.config.model_sections import DetectorConfig


class Config(DetectorConfig):
    trains: ClassVar[bool] = False

    strength: float = Field(1.0, gt=0, description="inverse strength of the penalty on the weights: scikit-learn's C")
