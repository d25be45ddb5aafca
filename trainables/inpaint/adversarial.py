"""Discriminators and their objectives.

A discriminator is a module with `forward(image_b3hw, mask_b1hw) -> logits` of any shape, positive for real. It takes
images in [0, 1] and crops its own input (the hole, a window, or the whole image). Each adversarial loss term has one
discriminator, and all discriminators share one optimiser.

An `Objective` says what a discriminator and the generator minimise. Its elementwise losses of logits are one of:

- `LOGISTIC`: the original GAN loss with the non-saturating generator (Goodfellow et al. 2014), as in the code of the
  context encoder: binary cross entropy on logits, summed over real and generated images for the discriminator, and
  against the label "real" for the generator.
- `HINGE`: with the factors 1/2 of DeepFill v2's code, max(0, 1 - D(real)) / 2 + max(0, 1 + D(fake)) / 2 for the
  discriminator and -D(fake) for the generator.
- `LEAST_SQUARES` (Mao et al. 2017): with the factors 1/2 of TDANet's code, (D(real) - 1)^2 / 2 + D(fake)^2 / 2 for the
  discriminator and (D(fake) - 1)^2 for the generator; a score above 0.5 means real.

Means are computed in float32, and all values stay on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.inpaint.batch import Batch
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


# -log D(real), -log(1 - D(fake)), -log D(fake)
LOGISTIC = AdversarialLoss(lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake))
HINGE = AdversarialLoss(lambda real: F.relu(1 - real) / 2, lambda fake: F.relu(1 + fake) / 2, torch.neg)
LEAST_SQUARES = AdversarialLoss(
    lambda real: (real - 1).square() / 2, lambda fake: fake.square() / 2, lambda fake: (fake - 1).square(), 0.5
)


@dataclass(frozen=True)
class Objective:
    """What one discriminator and the generator minimise. Subclasses override single methods."""

    loss: AdversarialLoss = LOGISTIC
    r1: float = 0.0
    """Weight of the R1 penalty (Mescheder et al. 2018) in the discriminator's loss; 0 for none.

    The penalty is the squared norm of the gradient of the logits with respect to real images, averaged over images and
    computed in full precision.
    """
    feature_matching: bool = False
    """Whether the generator has the term `feature_matching` as well.

    It is the mean squared difference between the discriminator's features of the output and of the original image. The
    discriminator needs a method `maps(image_b3hw, mask_b1hw)` that returns its feature maps, the logits last.
    """

    def target(self, mask_b1hw: Tensor, logits: Tensor) -> Tensor | None:
        """Where the label of generated images is "generated" (1) and where "real" (0), at the size of the logits.

        None for "generated" everywhere.
        """
        return None

    def fake_loss(self, logits: Tensor, target: Tensor | None) -> Tensor:
        """The discriminator's loss of the logits of generated images, elementwise."""
        loss = self.loss.fake(logits)
        return loss if target is None else target * loss + (1 - target) * self.loss.real(logits)

    def generator_loss(self, logits: Tensor, real_logits: Callable[[], Tensor]) -> Tensor:
        """The adversarial term of the generator, a mean.

        real_logits: returns the logits of the real images, without a graph.
        """
        return self.loss.generator(logits).mean()


class MaskedTarget(Objective):
    """The discriminator labels an output as generated only inside its holes and as real elsewhere (LaMa).

    The logits must be maps; the mask is scaled to their size by nearest neighbour.
    """

    def target(self, mask_b1hw: Tensor, logits: Tensor) -> Tensor | None:
        return F.interpolate(mask_b1hw, logits.shape[-2:], mode="nearest")


class ScoreMatching(Objective):
    """The generator minimises the squared difference between the scores of its images and of the real ones (TDANet)."""

    def generator_loss(self, logits: Tensor, real_logits: Callable[[], Tensor]) -> Tensor:
        return (logits - real_logits()).square().mean()


class Discriminators:
    """The discriminators, by adversarial loss term, with their optimiser."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        objectives: Mapping[str, Objective],
        workers: Workers = Workers(),  # noqa: B008 - frozen
        precision: Precision = Precision(),  # noqa: B008 - frozen
    ) -> None:
        self.networks: dict[str, Any] = dict(networks)
        self.optimiser = optimiser
        self.objectives = dict(objectives)
        self.precision = precision
        self._exact = tuple(term for term in networks if objectives[term].r1)
        self._group = workers.prepare(DiscriminatorGroup(networks, self._exact))

    def step(self, made_b3hw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Train every discriminator on one batch.

        made_b3hw: images of the generator; they are detached, so the generator gets no gradient from this step.

        Returns the values to record, as means like those of `batch_means`.
        """
        records: dict[str, Tensor] = {}
        losses = []
        image_b3hw = batch.image_b3hw.detach().requires_grad_() if self._exact else batch.image_b3hw
        with self.precision.cast():
            scores = self._group(image_b3hw, made_b3hw.detach(), batch.mask_b1hw)
        for term, (real, fake) in scores.items():
            records |= self._scored(term, real, fake, batch)
            losses.append(records[f"{record_name(term)}_loss"])
            if term in self._exact:
                penalty = batch.part.mean(gradient_penalty(real, image_b3hw))
                losses.append(self.objectives[term].r1 * penalty)
                records[f"{record_name(term)}_r1"] = penalty
        self.optimiser.zero_grad(set_to_none=True)
        sum(losses[1:], losses[0]).backward()  # type: ignore[no-untyped-call]
        for term, network in self.networks.items():
            records[f"{record_name(term)}_gradient_norm"] = gradient_norm(network.parameters())
        self.optimiser.step()
        return {name: value.detach() for name, value in records.items()}

    def _scored(self, term: str, real: Tensor, fake: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Loss and accuracies of one discriminator."""
        objective, mean, name = self.objectives[term], batch.part.mean, record_name(term)
        border = objective.loss.border
        target = objective.target(batch.mask_b1hw, fake)
        loss = mean(objective.loss.real(full(real))) + mean(objective.fake_loss(full(fake), target))
        correct = fake.detach() < border if target is None else (fake.detach() < border) == (target > 0)
        return {
            f"{name}_loss": loss,
            f"{name}_accuracy_real": mean((real.detach() > border).to(loss.dtype)),
            f"{name}_accuracy_fake": mean(correct.to(loss.dtype)),
        }

    def terms(self, made_b3hw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of the generator, means over its images; the discriminators get no gradient from them.

        `feature_matching` is summed over the discriminators. They are called without the DistributedDataParallel
        wrapper, because only the generator's gradients of this pass are averaged over the workers.
        """
        totals: dict[str, Tensor] = {}
        for term, network in self.networks.items():
            with frozen(network):
                for name, value in self._terms(term, made_b3hw, batch).items():
                    totals[name] = totals[name] + value if name in totals else value
        return totals

    def _terms(self, term: str, made_b3hw: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms of one discriminator."""
        network, objective = self.networks[term], self.objectives[term]
        terms: dict[str, Tensor] = {}
        if objective.feature_matching:
            logits, terms["feature_matching"] = self._features(network, made_b3hw, batch)
        else:
            with self.precision.cast():
                logits = network(made_b3hw, batch.mask_b1hw)

        def real_logits() -> Tensor:
            with self.precision.cast(), torch.no_grad():
                return full(network(batch.image_b3hw, batch.mask_b1hw))

        return {**terms, term: objective.generator_loss(full(logits), real_logits)}

    def _features(self, network: Any, made_b3hw: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits of an output, and the squared distance of its features from the image's, averaged over layers."""
        with self.precision.cast():
            *features, logits = network.maps(made_b3hw, batch.mask_b1hw)
            with torch.no_grad():
                *truths, _ = network.maps(batch.image_b3hw, batch.mask_b1hw)
        pairs = zip(features, truths, strict=True)
        errors = [F.mse_loss(full(feature), full(truth)) for feature, truth in pairs]
        return logits, torch.stack(errors).mean()

    def state_dict(self) -> dict[str, Any]:
        networks = {term: network.state_dict() for term, network in self.networks.items()}
        return {"discriminators": networks, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for term, network in self.networks.items():
            network.load_state_dict(state["discriminators"][term])
        self.optimiser.load_state_dict(state["optimiser"])


class DiscriminatorGroup(nn.Module):
    """All discriminators as one module: DistributedDataParallel needs exactly one forward call per backward pass."""

    def __init__(self, networks: Mapping[str, nn.Module], exact: tuple[str, ...]) -> None:
        """exact: the terms of `discriminate`'s exact scores."""
        super().__init__()
        self.discriminators = nn.ModuleDict(networks)
        self.exact = exact

    def forward(self, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The logits of real and of generated images, by loss term."""
        return {
            term: discriminate(network, real_b3hw, fake_b3hw, mask_b1hw, term in self.exact)
            for term, network in self.discriminators.items()
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


def gradient_penalty(logits: Tensor, image_b3hw: Tensor) -> Tensor:
    """Squared norm (b,) of the gradient of the summed logits with respect to each image.

    Its graph is kept, so that it can be differentiated.
    """
    (gradient_b3hw,) = torch.autograd.grad(logits.sum(), image_b3hw, create_graph=True)
    norms_b: Tensor = gradient_b3hw.square().sum((1, 2, 3))
    return norms_b


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


def saturated(output_bchw: Tensor) -> Tensor:
    """1 for elements of an output in [0, 1] that are close to 0 or 1: nearly all if a generator has collapsed."""
    output_bchw = output_bchw.detach()
    return ((output_bchw < SATURATED) | (output_bchw > 1 - SATURATED)).to(output_bchw.dtype)
