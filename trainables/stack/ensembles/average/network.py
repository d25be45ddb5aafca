"""Mean of the detectors' logits, without fitting: the baseline of stacking."""

from __future__ import annotations

from typing import Any, ClassVar

from trainables.config.model_sections import StackConfig
from trainables.stack.classifier import LogitClassifier


class Config(StackConfig):
    """No options."""

    inputs: ClassVar[tuple[str, ...]] = ("logits",)


class Average(LogitClassifier):
    def logit(self, logit_nk: Any) -> Any:
        return logit_nk.mean(1)


def build(config: Config, seed: int) -> Any:  # noqa: ARG001 - common signature of all ensembles
    """The unfitted estimator."""
    return Average()
