"""Stacking by a random forest."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import RandomForestClassifier

from trainables.stack.ensembles.random_forest.config import Config


def build(config: Config, seed: int) -> Any:
    """The unfitted estimator."""
    return RandomForestClassifier(config.trees, min_samples_leaf=config.least_leaf, random_state=seed % 2**32)
