"""Builds the generator and the discriminators of TDANet, and trains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.inpaint.adversarial import LEAST_SQUARES, Discriminators, Objective, ScoreMatching
from trainables.inpaint.method import GAN, Batch, Method, Setup, TrainingOutput
from trainables.inpaint.methods.tdanet.config import Config
from trainables.inpaint.methods.tdanet.discriminator import TDANetDiscriminator
from trainables.inpaint.methods.tdanet.generator import TDANet
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.training.precision import full


def build(config: Config, size: int) -> nn.Module:
    """Build the network for images of size x size px, with an empty vocabulary.

    Raises TrialError like `Config.check_size`.
    """
    config.check_size(size)
    return TDANet(config, size)


def build_discriminator(config: Config, size: int, term: str) -> nn.Module:  # noqa: ARG001 - both are alike
    """Build the discriminator of a term; each term has its own."""
    return TDANetDiscriminator(config.width, size)


class TDANetTraining(nn.Module):
    """Calls `learn` and returns the terms with a weight: DistributedDataParallel waits for gradients of all outputs."""

    def __init__(self, network: TDANet, terms: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.terms = network, terms

    def forward(self, *inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        image_2b3hw, terms = self.network.learn(*inputs)
        return image_2b3hw, {name: terms[name] for name in self.terms}


@dataclass(frozen=True)
class TwoPaths(TrainingOutput):
    """`gen` and `rec`; only the image of the prior's mean if no term of the network itself has a weight."""

    paths: tuple[Tensor, ...] = ()


class TDANetGAN(GAN):
    """The network with two discriminators, which learn from `rec`; it has to deceive them with both paths."""

    def compared_region(self) -> PredictedRegion:
        return PredictedRegion(value_range=(-1.0, 1.0))

    def own_terms(self) -> tuple[str, ...]:
        """The terms with a weight that the network computes."""
        return tuple(name for name in self.weights if name in self.options.terms)

    def training_module(self) -> nn.Module:
        return TDANetTraining(self.network, self.own_terms()) if self.own_terms() else super().training_module()

    def predict(self, batch: Batch) -> TwoPaths:
        if not self.own_terms():
            image_b3hw = super().predict(batch).image_b3hw
            return TwoPaths(image_b3hw, paths=(image_b3hw,))
        torch.manual_seed(batch.noise_seed)  # for dropout and codes: every worker draws those of the whole batch
        with self.precision.cast():
            images = batch.damaged_b3hw, batch.mask_b1hw, batch.image_b3hw
            made_2b3hw, terms = self.trained(*images, batch.tokens_wt, batch.part)
        gen_b3hw, rec_b3hw = full(made_2b3hw).tensor_split(2)
        return TwoPaths(gen_b3hw, {name: full(term) for name, term in terms.items()}, (gen_b3hw, rec_b3hw))

    def build_discriminator(self, term: str) -> nn.Module:
        return build_discriminator(self.options, self.setup.size, term)

    def objective(self, term: str) -> Objective:
        return ScoreMatching(LEAST_SQUARES) if term == "adversarial_features" else Objective(LEAST_SQUARES)

    def discriminator_input(self, prediction: TrainingOutput, batch: Batch) -> Tensor:
        assert isinstance(prediction, TwoPaths)
        return prediction.paths[-1]

    def adversarial_terms(
        self,
        discriminators: Discriminators,
        seen_b3hw: Tensor,
        prediction: TrainingOutput,
        batch: Batch,
    ) -> dict[str, Tensor]:
        assert isinstance(prediction, TwoPaths)
        terms = [discriminators.terms(image_b3hw, batch) for image_b3hw in prediction.paths]
        return {name: sum((path[name] for path in terms[1:]), terms[0][name]) for name in terms[0]}


def method(setup: Setup) -> Method:
    return TDANetGAN(setup)
