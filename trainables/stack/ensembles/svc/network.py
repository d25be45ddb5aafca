"""Stacking by a support vector classifier."""

from __future__ import annotations

from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trainables.stack.ensembles.svc.config import Config


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - nothing is random
    """The unfitted estimator; its probabilities use Platt scaling, fitted by cross-validation."""
    return CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SVC(C=config.c, kernel=config.kernel)), ensemble=False
    )
