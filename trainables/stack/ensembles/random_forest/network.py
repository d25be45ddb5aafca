"""Stacking by a random forest (Breiman 2001; scikit-learn's), as in document 001_cc5423a036889870."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sklearn.ensemble import RandomForestClassifier

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """Options of the forest; all others are scikit-learn's defaults."""

    trees: int = Field(300, ge=1, le=10_000, description="number of trees")
    least_leaf: int = Field(5, ge=1, description="minimum number of images in a leaf")


def build(config: Config, seed: int) -> Any:
    """The unfitted estimator."""
    return RandomForestClassifier(config.trees, min_samples_leaf=config.least_leaf, random_state=seed % 2**32)
