"""The adversarial half of a training step: discriminators that tell real images from a generator's.

A discriminator is a module called as `forward(image_b3hw, mask_b1hw) -> logits`, of any shape, above 0 for real: it
takes images in [0, 1] and cuts out itself what it looks at (the hole, a window, all). There is one for each adversarial
term of the loss, and one optimiser for all of them.

Which losses is the model's to say (`ModelConfig.adversarial_loss`). `logistic`: those of the original GAN with its
non-saturating generator (Goodfellow et al. 2014), as in the context encoder's code: binary cross entropy on logits, the
discriminator's summed over real and generated images, and the generator's against the label "real". `hinge`: with the
halves of DeepFill v2's code, max(0, 1 - D(real)) / 2 + max(0, 1 + D(fake)) / 2, and -D(fake) for the generator.
`least_squares` (Mao et al. 2017), with the halves of TDANet's code: (D(real) - 1)^2 / 2 + D(fake)^2 / 2, and
(D(fake) - 1)^2 for the generator; there scores say real above 0.5. Means are in float32. Every value stays on the
device.

What TDANet (Zhang et al. 2020) and LaMa (Suvorov et al. 2022) add, with their code, is in `Rules`, and off for a model
that does not ask for it.
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
class Loss:
    """Losses of logits, element by element: the discriminator's of real and of generated images, the generator's.

    border: above it a logit says real.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    border: float = 0.0


LOSSES = {
    # -log D(real), -log(1 - D(fake)), -log D(fake)
    "logistic": Loss(lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake)),
    "hinge": Loss(lambda real: F.relu(1 - real) / 2, lambda fake: F.relu(1 + fake) / 2, torch.neg),
    "least_squares": Loss(
        lambda real: (real - 1).square() / 2, lambda fake: fake.square() / 2, lambda fake: (fake - 1).square(), 0.5
    ),
}


@dataclass(frozen=True)
class Rules:
    """What a model's discriminators do beyond their losses.

    masked_target: the loss of an output is that of a real image where it is known, so that only holes shall be found
    out; logits are maps then, and a mask is scaled to them by nearest neighbour. r1: weight, in the discriminators'
    loss, of the squared norm of the logits' gradient by a real image, mean over images (Mescheder et al. 2018), in full
    precision. matches: the discriminators give the term `feature_matching` as well: the mean squared difference of an
    output's features from those of the image. matched: terms that give the generator the mean squared difference
    between the scores of its images and of the real ones, position by position, instead of its loss.
    """

    masked_target: bool = False
    r1: float = 0.0
    matches: bool = False
    matched: tuple[str, ...] = ()


FURTHER = ("r1", "feature_matching")
"""The loss terms that `Rules` are made of."""


class Adversary:
    """The discriminators by the loss term that each gives, with their optimiser."""

    def __init__(
        self,
        discriminators: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        workers: Workers = Workers(),  # noqa: B008 - frozen
        loss: str = "logistic",
        precision: Precision = Precision(),  # noqa: B008 - frozen
        rules: Rules = Rules(),
    ) -> None:
        self.discriminators = dict(discriminators)
        self.rules = rules
        self.loss = LOSSES[loss]
        self.precision = precision
        self.optimiser = optimiser
        self._judges = workers.prepare(_Judges(self.discriminators, exact=bool(rules.r1)))

    def step(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """One step of every discriminator, and what to record of it.

        output_b3hw: the generator's, with its graph: it gets no gradient here. share: what a mean over these images is
        multiplied with, 0 where there are none (`trainables.training.distributed`).
        """
        records: dict[str, Tensor] = {}
        total = output_b3hw.new_zeros(())
        if self.rules.r1:
            image_b3hw = image_b3hw.detach().requires_grad_()
        with self.precision.cast():
            judged = self._judges(image_b3hw, output_b3hw.detach(), mask_b1hw)
        for term, (real, fake) in judged.items():
            hole = scaled(mask_b1hw, fake) if self.rules.masked_target else None
            loss = mean(self.loss.real(full(real)), share) + mean(self._fake(full(fake), hole), share)
            total = total + loss
            name = record_name(term)
            records[f"{name}_loss"] = loss.detach()
            border = self.loss.border
            records[f"{name}_accuracy_real"] = mean((real.detach() > border).to(total), share)
            right = fake.detach() < border if hole is None else (fake.detach() < border) == (hole > 0)
            records[f"{name}_accuracy_fake"] = mean(right.to(total), share)
            if self.rules.r1:
                penalty = mean(steepness(real, image_b3hw), share)
                total = total + self.rules.r1 * penalty
                records[f"{name}_r1"] = penalty.detach()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        for term, discriminator in self.discriminators.items():
            records[f"{record_name(term)}_gradient_norm"] = gradient_norm(discriminator.parameters())
        self.optimiser.step()
        return records

    def _fake(self, logits: Tensor, hole: Tensor | None) -> Tensor:
        """The loss of a generated image's logits; hole: 1 where they are of a hole, None for everywhere."""
        loss = self.loss.fake(logits)
        return loss if hole is None else hole * loss + (1 - hole) * self.loss.real(logits)

    def terms(
        self, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None = None, paths: int = 1
    ) -> dict[str, Tensor]:
        """The generator's adversarial terms. The discriminators' weights get no gradient from them.

        So they are called without what averages gradients over the workers: those of this pass are the generator's.
        image_b3hw: for the terms that compare with real images. paths: so many batches stand in `output_b3hw`, and a
        term is the sum over them. `feature_matching` is summed over the discriminators as well.
        """
        found: dict[str, Tensor] = {}
        for term, discriminator in self.discriminators.items():
            with frozen(discriminator):
                for part in output_b3hw.chunk(paths) if paths > 1 else (output_b3hw,):
                    for name, value in self._terms(term, part, mask_b1hw, image_b3hw).items():
                        found[name] = found[name] + value if name in found else value
        return found

    def _terms(self, term: str, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None) -> dict[str, Tensor]:
        """What one discriminator gives for one batch: its term, and `feature_matching` where that is wanted."""
        discriminator = self.discriminators[term]
        found: dict[str, Tensor] = {}
        if self.rules.matches:
            assert image_b3hw is not None
            logits, found["feature_matching"] = self._features(discriminator, output_b3hw, mask_b1hw, image_b3hw)
        else:
            with self.precision.cast():
                logits = discriminator(output_b3hw, mask_b1hw)
        if term not in self.rules.matched:
            return {**found, term: self.loss.generator(full(logits)).mean()}
        assert image_b3hw is not None
        with self.precision.cast(), torch.no_grad():
            real = discriminator(image_b3hw, mask_b1hw)
        return {**found, term: (full(logits) - full(real)).square().mean()}

    def _features(
        self, discriminator: Any, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The logits of an output, and the mean over layers of how far its features are from the image's, squared."""
        with self.precision.cast():
            *features, logits = discriminator.maps(output_b3hw, mask_b1hw)
            with torch.no_grad():
                *truths, _ = discriminator.maps(image_b3hw, mask_b1hw)
        pairs = zip(features, truths, strict=True)
        errors = [F.mse_loss(full(ours), full(truth)) for ours, truth in pairs]
        return logits, torch.stack(errors).mean()

    def state_dict(self) -> dict[str, Any]:
        networks = {term: network.state_dict() for term, network in self.discriminators.items()}
        return {"discriminators": networks, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for term, network in self.discriminators.items():
            network.load_state_dict(state["discriminators"][term])
        self.optimiser.load_state_dict(state["optimiser"])


class _Judges(nn.Module):
    """All discriminators as one module, called once for each backward pass, as DistributedDataParallel wants it."""

    def __init__(self, discriminators: Mapping[str, nn.Module], exact: bool) -> None:
        super().__init__()
        self.discriminators = nn.ModuleDict(discriminators)
        self.exact = exact

    def forward(self, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The logits of real and generated images by loss term."""
        return {
            term: judge(discriminator, real_b3hw, fake_b3hw, mask_b1hw, self.exact)
            for term, discriminator in self.discriminators.items()
        }


def judge(
    discriminator: nn.Module, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor, exact: bool = False
) -> tuple[Tensor, Tensor]:
    """The logits of real and generated images.

    One pass over both, but two where the discriminator normalises over the batch: mixed statistics would tell every
    image what the other half looks like, and the published code takes two. exact: two, real images' without autocast.
    """
    if exact:
        with as_given(real_b3hw.device):
            real = discriminator(real_b3hw, mask_b1hw)
        return real, discriminator(fake_b3hw, mask_b1hw)
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in discriminator.modules()):
        return discriminator(real_b3hw, mask_b1hw), discriminator(fake_b3hw, mask_b1hw)
    real, fake = discriminator(torch.cat([real_b3hw, fake_b3hw]), torch.cat([mask_b1hw, mask_b1hw])).chunk(2)
    return real, fake


def scaled(mask_b1hw: Tensor, logits_b1hw: Tensor) -> Tensor:
    """A mask of the size of a map of logits, by nearest neighbour."""
    return F.interpolate(mask_b1hw, logits_b1hw.shape[-2:], mode="nearest")


def steepness(logits: Tensor, image_b3hw: Tensor) -> Tensor:
    """The squared norm of the gradient, by each image, of all logits' sum; with its graph, for a second derivative."""
    (gradient_b3hw,) = torch.autograd.grad(logits.sum(), image_b3hw, create_graph=True)
    norms_b: Tensor = gradient_b3hw.square().sum((1, 2, 3))
    return norms_b


def mean(values: Tensor, share: float) -> Tensor:
    """The mean times `share`; 0, with its graph, where there are no values."""
    return values.mean() * share if share else values.sum()


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Graphs made inside lead through the network to its input, not to its weights: that also saves their backward."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def record_name(term: str) -> str:
    """What a discriminator is called in records: `adversarial_local` gives `discriminator_local`."""
    return term.replace("adversarial", "discriminator")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def saturated(output_bchw: Tensor, share: float = 1.0) -> Tensor:
    """Share of the elements of an output in [0, 1] that are at either end: near 1 where a generator has collapsed."""
    output_bchw = output_bchw.detach()
    return mean(((output_bchw < SATURATED) | (output_bchw > 1 - SATURATED)).to(output_bchw.dtype), share)
