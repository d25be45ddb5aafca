"""The adversarial part of a training step: discriminators, their losses, and the adversarial terms of the generator.

A discriminator is a module with `forward(image_b3hw, mask_b1hw) -> logits` of any shape, positive for real. It takes
images in [0, 1] and crops its own input (the hole, a window, or the whole image). Each adversarial loss term has one
discriminator, and all discriminators share one optimiser.

The model selects the loss (`ModelConfig.adversarial_loss`):

- `logistic`: the original GAN loss with the non-saturating generator (Goodfellow et al. 2014), as in the code of the
  context encoder: binary cross entropy on logits, summed over real and generated images for the discriminator, and
  against the label "real" for the generator.
- `hinge`: with the factors 1/2 of DeepFill v2's code, max(0, 1 - D(real)) / 2 + max(0, 1 + D(fake)) / 2 for the
  discriminator and -D(fake) for the generator.
- `least_squares` (Mao et al. 2017): with the factors 1/2 of TDANet's code, (D(real) - 1)^2 / 2 + D(fake)^2 / 2 for the
  discriminator and (D(fake) - 1)^2 for the generator; a score above 0.5 means real.

Means are computed in float32, and all values stay on the device.

`GANObjective` holds the additions of TDANet (Zhang et al. 2020) and LaMa (Suvorov et al. 2022) as found in their code;
they are off unless a model sets them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.training.distributed import Workers
from trainables.training.precision import Precision, as_given, full

SATURATED = 0.005
"""Outputs this close to 0 or 1 count as saturated: 1 % of the range of a tanh, seen in [0, 1]."""


@dataclass(frozen=True)
class AdversarialLoss:
    """Elementwise losses of logits."""

    real: Callable[[Tensor], Tensor]
    """Loss of the discriminator on real images."""
    fake: Callable[[Tensor], Tensor]
    """Loss of the discriminator on generated images."""
    generator: Callable[[Tensor], Tensor]
    """Loss of the generator on its own images."""
    border: float = 0.0
    """Decision threshold: a larger logit means real."""


LOSSES = {
    # -log D(real), -log(1 - D(fake)), -log D(fake)
    "logistic": AdversarialLoss(lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake)),
    "hinge": AdversarialLoss(lambda real: F.relu(1 - real) / 2, lambda fake: F.relu(1 + fake) / 2, torch.neg),
    "least_squares": AdversarialLoss(
        lambda real: (real - 1).square() / 2, lambda fake: fake.square() / 2, lambda fake: (fake - 1).square(), 0.5
    ),
}


@dataclass(frozen=True)
class GANObjective:
    """Additions of a model to the adversarial loss."""

    masked_target: bool = False
    """The discriminator labels an output as generated only inside its holes and as real elsewhere.

    The logits must be maps; the mask is scaled to their size by nearest neighbour.
    """
    r1: float = 0.0
    """Weight of the R1 penalty (Mescheder et al. 2018) in the discriminators' loss.

    The penalty is the squared norm of the gradient of the logits with respect to real images, averaged over images and
    computed in full precision.
    """
    matches: bool = False
    """The discriminators also provide the term `feature_matching`.

    It is the mean squared difference between their features of the output and of the original image.
    """
    matched: tuple[str, ...] = ()
    """Terms for which the generator minimises the mean squared difference between the scores of its images and of the
    real images, position by position, instead of its adversarial loss."""


FURTHER = ("r1", "feature_matching")
"""Loss terms of the discriminators besides the adversarial ones."""


class Adversary:
    """The discriminators, by adversarial loss term, with their optimiser."""

    def __init__(
        self,
        discriminators: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        workers: Workers = Workers(),  # noqa: B008 - frozen
        loss: str = "logistic",
        precision: Precision = Precision(),  # noqa: B008 - frozen
        rules: GANObjective = GANObjective(),
    ) -> None:
        self.discriminators = dict(discriminators)
        self.rules = rules
        self.loss = LOSSES[loss]
        self.precision = precision
        self.optimiser = optimiser
        self._group = workers.prepare(DiscriminatorGroup(self.discriminators, exact=bool(rules.r1)))

    def step(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """Train every discriminator on one batch, and return the values to record.

        output_b3hw: images of the generator; they are detached, so the generator gets no gradient from this step.
        share: factor for means over these images, 0 if there are none (`trainables.training.distributed`).
        """
        records: dict[str, Tensor] = {}
        total = output_b3hw.new_zeros(())
        if self.rules.r1:
            image_b3hw = image_b3hw.detach().requires_grad_()
        with self.precision.cast():
            judged = self._group(image_b3hw, output_b3hw.detach(), mask_b1hw)
        for term, (real, fake) in judged.items():
            hole = resize_mask(mask_b1hw, fake) if self.rules.masked_target else None
            loss = mean(self.loss.real(full(real)), share) + mean(self._fake(full(fake), hole), share)
            total = total + loss
            name = record_name(term)
            records[f"{name}_loss"] = loss.detach()
            border = self.loss.border
            records[f"{name}_accuracy_real"] = mean((real.detach() > border).to(total), share)
            correct = fake.detach() < border if hole is None else (fake.detach() < border) == (hole > 0)
            records[f"{name}_accuracy_fake"] = mean(correct.to(total), share)
            if self.rules.r1:
                penalty = mean(gradient_penalty(real, image_b3hw), share)
                total = total + self.rules.r1 * penalty
                records[f"{name}_r1"] = penalty.detach()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        for term, discriminator in self.discriminators.items():
            records[f"{record_name(term)}_gradient_norm"] = gradient_norm(discriminator.parameters())
        self.optimiser.step()
        return records

    def _fake(self, logits: Tensor, hole: Tensor | None) -> Tensor:
        """Discriminator loss of the logits of generated images.

        hole: 1 where the target is "generated", 0 where it is "real"; None for "generated" everywhere.
        """
        loss = self.loss.fake(logits)
        return loss if hole is None else hole * loss + (1 - hole) * self.loss.real(logits)

    def terms(
        self, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None = None, paths: int = 1
    ) -> dict[str, Tensor]:
        """The adversarial loss terms of the generator; the weights of the discriminators get no gradient from them.

        The discriminators are called without the DistributedDataParallel wrapper, because only the generator's
        gradients of this pass are averaged over the workers.

        image_b3hw: real images, for the terms that compare outputs with them.
        paths: number of batches concatenated in `output_b3hw`; a term is the sum over them. `feature_matching` is also
            summed over the discriminators.
        """
        totals: dict[str, Tensor] = {}
        for term, discriminator in self.discriminators.items():
            with frozen(discriminator):
                for part in output_b3hw.chunk(paths) if paths > 1 else (output_b3hw,):
                    for name, value in self._terms(term, part, mask_b1hw, image_b3hw).items():
                        totals[name] = totals[name] + value if name in totals else value
        return totals

    def _terms(self, term: str, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None) -> dict[str, Tensor]:
        """The terms of one discriminator for one batch: its adversarial term, and `feature_matching` if it is on."""
        discriminator = self.discriminators[term]
        terms: dict[str, Tensor] = {}
        if self.rules.matches:
            assert image_b3hw is not None
            logits, terms["feature_matching"] = self._features(discriminator, output_b3hw, mask_b1hw, image_b3hw)
        else:
            with self.precision.cast():
                logits = discriminator(output_b3hw, mask_b1hw)
        if term not in self.rules.matched:
            return {**terms, term: self.loss.generator(full(logits)).mean()}
        assert image_b3hw is not None
        with self.precision.cast(), torch.no_grad():
            real = discriminator(image_b3hw, mask_b1hw)
        return {**terms, term: (full(logits) - full(real)).square().mean()}

    def _features(
        self, discriminator: Any, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The logits of an output, and the squared distance of its features from the image's, averaged over layers."""
        with self.precision.cast():
            *features, logits = discriminator.maps(output_b3hw, mask_b1hw)
            with torch.no_grad():
                *truths, _ = discriminator.maps(image_b3hw, mask_b1hw)
        pairs = zip(features, truths, strict=True)
        errors = [F.mse_loss(full(feature), full(truth)) for feature, truth in pairs]
        return logits, torch.stack(errors).mean()

    def state_dict(self) -> dict[str, Any]:
        networks = {term: network.state_dict() for term, network in self.discriminators.items()}
        return {"discriminators": networks, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for term, network in self.discriminators.items():
            network.load_state_dict(state["discriminators"][term])
        self.optimiser.load_state_dict(state["optimiser"])


class DiscriminatorGroup(nn.Module):
    """All discriminators as one module: DistributedDataParallel needs exactly one forward call per backward pass."""

    def __init__(self, discriminators: Mapping[str, nn.Module], exact: bool) -> None:
        super().__init__()
        self.discriminators = nn.ModuleDict(discriminators)
        self.exact = exact

    def forward(self, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The logits of real and of generated images, by loss term."""
        return {
            term: discriminate(discriminator, real_b3hw, fake_b3hw, mask_b1hw, self.exact)
            for term, discriminator in self.discriminators.items()
        }


def discriminate(
    discriminator: nn.Module, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """The logits of real and of generated images, in one pass over both if possible.

    A discriminator with batch normalisation takes two passes, as in the published code: statistics over a mixed batch
    would leak information about the other half into every score.

    exact: take two passes, that over the real images without autocast.
    """
    if exact:
        with as_given(real_b3hw.device):
            real = discriminator(real_b3hw, mask_b1hw)
        return real, discriminator(fake_b3hw, mask_b1hw)
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in discriminator.modules()):
        return discriminator(real_b3hw, mask_b1hw), discriminator(fake_b3hw, mask_b1hw)
    real, fake = discriminator(torch.cat([real_b3hw, fake_b3hw]), torch.cat([mask_b1hw, mask_b1hw])).chunk(2)
    return real, fake


def resize_mask(mask_b1hw: Tensor, logits_b1hw: Tensor) -> Tensor:
    """Resize a mask to the size of a map of logits, by nearest neighbour."""
    return F.interpolate(mask_b1hw, logits_b1hw.shape[-2:], mode="nearest")


def gradient_penalty(logits: Tensor, image_b3hw: Tensor) -> Tensor:
    """Squared norm (b,) of the gradient of the summed logits with respect to each image.

    Its graph is kept, so that it can be differentiated.
    """
    (gradient_b3hw,) = torch.autograd.grad(logits.sum(), image_b3hw, create_graph=True)
    norms_b: Tensor = gradient_b3hw.square().sum((1, 2, 3))
    return norms_b


def mean(values: Tensor, share: float) -> Tensor:
    """The mean times `share`; if there are no values, 0 with a graph."""
    return values.mean() * share if share else values.sum()


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Inside this context gradients flow through the network to its input, but not to its weights.

    This also saves the backward pass of the weights.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def record_name(term: str) -> str:
    """Name of a term's discriminator in the records: `discriminator_local` for `adversarial_local`."""
    return term.replace("adversarial", "discriminator")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm over all gradients."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def saturated_share(output_bchw: Tensor, share: float = 1.0) -> Tensor:
    """Fraction of the elements of an output in [0, 1] that are close to 0 or 1; near 1 if a generator has collapsed."""
    output_bchw = output_bchw.detach()
    return mean(((output_bchw < SATURATED) | (output_bchw > 1 - SATURATED)).to(output_bchw.dtype), share)
