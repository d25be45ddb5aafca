"""Single training steps, for tests."""

from __future__ import annotations

from torch import Tensor

from trainables.inpaint.adversarial import Discriminators
from trainables.inpaint.batch import Batch
from trainables.inpaint.method import GAN
from trainables.inpaint.task import InpaintLearner


def step(learner: InpaintLearner, image_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, Tensor]:
    """Train on one batch; returns the recorded values as means."""
    terms = learner.method.training_step(Batch.of(image_b3hw, mask_b1hw))
    return {name: total / count for name, (total, count) in terms.items()}


def discriminators_of(learner: InpaintLearner) -> Discriminators:
    """The discriminators of a GAN."""
    assert isinstance(learner.method, GAN)
    assert learner.method.discriminators is not None
    return learner.method.discriminators
