"""Options of stacking by a random forest."""

from __future__ import annotations

from pydantic import Field

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """Options of the forest; all others are scikit-learn's defaults."""

    trees: int = Field(300, ge=1, le=10_000, description="number of trees")
    least_leaf: int = Field(5, ge=1, description="minimum number of images in a leaf")
