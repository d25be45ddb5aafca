"""Stacking by a support vector classifier (scikit-learn's), as in document 001_cc5423a036889870."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """Options of the classifier; its inputs are standardised to mean 0 and variance 1."""

    kernel: Literal["rbf", "linear"] = Field(
        "rbf", description="kernel of the decision function; linear: a weighted sum of the inputs"
    )
    c: float = Field(1.0, gt=0, description="inverse strength of the regularisation: scikit-learn's C")


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - nothing is random
    """The unfitted estimator; its probabilities use Platt scaling, fitted by cross-validation."""
    return CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SVC(C=config.c, kernel=config.kernel)), ensemble=False
    )
