"""The mean of the detectors' logits."""

from __future__ import annotations

from typing import Any

from trainables.stack.classifier import LogitClassifier
from trainables.stack.ensembles.average.config import Config


class Average(LogitClassifier):
    def logit(self, logit_nk: Any) -> Any:
        return logit_nk.mean(1)


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - common signature of all ensembles
    """The unfitted estimator."""
    return Average()
