"""The best single detector."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from trainables.stack.classifier import LogitClassifier
from trainables.stack.ensembles.best_single.config import Config


class BestSingle(LogitClassifier):
    """Selects the detector with the highest area under the ROC curve; ties go to the first."""

    def learn(self, logit_nk: Any, label_n: Any) -> None:
        self.chosen_ = int(np.argmax([roc_auc_score(label_n, column) for column in logit_nk.T]))

    def logit(self, logit_nk: Any) -> Any:
        return logit_nk[:, self.chosen_]


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - common signature of all ensembles
    """The unfitted estimator."""
    return BestSingle()
