"""scikit-learn classifier on logits (n, detectors): base class of the ensembles that need no scikit-learn model."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from trainables.detect.metrics import probability


class LogitClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Base class; subclasses implement `logit`, and `learn` if they depend on the training rows."""

    def fit(self, logits: Any, labels: Any) -> LogitClassifier:
        self.classes_ = np.array([0, 1])
        self.learn(np.asarray(logits, dtype=np.float64), np.asarray(labels))
        return self

    def learn(self, logit_nk: Any, label_n: Any) -> None:
        """Fit to the training rows; does nothing by default."""

    def logit(self, logit_nk: Any) -> Any:
        """Logits (n,) of the rows."""
        raise NotImplementedError

    def predict_proba(self, logits: Any) -> Any:
        p = probability(self.logit(np.asarray(logits, dtype=np.float64)))
        return np.stack([1 - p, p], 1)

    def predict(self, logits: Any) -> Any:
        return self.predict_proba(logits)[:, 1] >= 0.5
