"""Stacking by a support vector classifier (scikit-learn's), as document 001_cc5423a036889870 tried it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """Options of the classifier; inputs are scaled to mean 0 and variance 1 first."""

    kernel: Literal["rbf", "linear"] = Field("rbf", description="rbf: of any shape; linear: a weighted mean")
    c: float = Field(1.0, gt=0, description="weight of the errors against a wide margin")


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - nothing is drawn
    """The estimator; its probabilities are Platt's, fitted on parts that it has not seen."""
    return CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SVC(C=config.c, kernel=config.kernel)), ensemble=False
    )
