"""No ensemble: the one detector that tells the images best from which the others would learn to stack."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import roc_auc_score

from trainables.config.model_sections import StackConfig
from trainables.stack.classifier import Classifier


class Config(StackConfig):
    """No options."""

    inputs: ClassVar[tuple[str, ...]] = ("logits",)


class BestSingle(Classifier):
    """Chosen by the area under the ROC curve; of equal ones the first."""

    def learn(self, logit_nk: Any, label_n: Any) -> None:
        self.chosen_ = int(np.argmax([roc_auc_score(label_n, column) for column in logit_nk.T]))

    def logit(self, logit_nk: Any) -> Any:
        return logit_nk[:, self.chosen_]


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - every ensemble is built alike
    """The estimator."""
    return BestSingle()
