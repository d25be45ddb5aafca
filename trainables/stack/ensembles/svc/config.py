"""Options of stacking by a support vector classifier."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """Options of the classifier; its inputs are standardised to mean 0 and variance 1."""

    kernel: Literal["rbf", "linear"] = Field(
        "rbf", description="kernel of the decision function; linear: a weighted sum of the inputs"
    )
    c: float = Field(1.0, gt=0, description="inverse strength of the regularisation: scikit-learn's C")
