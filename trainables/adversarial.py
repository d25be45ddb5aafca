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

A term that is `matched` gives the generator the mean squared difference between the scores of its images and of the
real ones instead, position by position.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.precision import Precision, full
from trainables.workers import Workers

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


class Adversary:
    """The discriminators by the loss term that each gives, with their optimiser."""

    def __init__(
        self,
        discriminators: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        workers: Workers = Workers(),  # noqa: B008 - frozen
        loss: str = "logistic",
        precision: Precision = Precision(),  # noqa: B008 - frozen
        matched: tuple[str, ...] = (),
    ) -> None:
        self.discriminators = dict(discriminators)
        self.matched = matched
        self.loss = LOSSES[loss]
        self.precision = precision
        self.optimiser = optimiser
        self._judges = workers.prepare(_Judges(self.discriminators))

    def step(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """One step of every discriminator, and what to record of it.

        output_b3hw: the generator's, with its graph: it gets no gradient here. share: what a mean over these images is
        multiplied with, 0 where there are none (`trainables.workers`).
        """
        records: dict[str, Tensor] = {}
        total = output_b3hw.new_zeros(())
        with self.precision.cast():
            judged = self._judges(image_b3hw, output_b3hw.detach(), mask_b1hw)
        for term, (real, fake) in judged.items():
            loss = mean(self.loss.real(full(real)), share) + mean(self.loss.fake(full(fake)), share)
            total = total + loss
            name = record_name(term)
            records[f"{name}_loss"] = loss.detach()
            records[f"{name}_accuracy_real"] = mean((real.detach() > self.loss.border).float(), share)
            records[f"{name}_accuracy_fake"] = mean((fake.detach() < self.loss.border).float(), share)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        for term, discriminator in self.discriminators.items():
            records[f"{record_name(term)}_gradient_norm"] = gradient_norm(discriminator.parameters())
        self.optimiser.step()
        return records

    def terms(
        self, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None = None, paths: int = 1
    ) -> dict[str, Tensor]:
        """The generator's adversarial terms. The discriminators' weights get no gradient from them.

        So they are called without what averages gradients over the workers: those of this pass are the generator's.
        image_b3hw: for the terms that are matched. paths: so many batches stand in `output_b3hw`, and a term is the sum
        over them.
        """
        found = {}
        for term, discriminator in self.discriminators.items():
            with frozen(discriminator):
                outputs = output_b3hw.chunk(paths) if paths > 1 else (output_b3hw,)
                parts = [self._term(term, part, mask_b1hw, image_b3hw) for part in outputs]
                found[term] = parts[0] if paths == 1 else torch.stack(parts).sum()
        return found

    def _term(self, term: str, output_b3hw: Tensor, mask_b1hw: Tensor, image_b3hw: Tensor | None) -> Tensor:
        with self.precision.cast():
            logits = full(self.discriminators[term](output_b3hw, mask_b1hw))
        if term not in self.matched:
            return self.loss.generator(logits).mean()
        assert image_b3hw is not None
        with self.precision.cast(), torch.no_grad():
            real = full(self.discriminators[term](image_b3hw, mask_b1hw))
        return (logits - real).square().mean()

    def state_dict(self) -> dict[str, Any]:
        networks = {term: network.state_dict() for term, network in self.discriminators.items()}
        return {"discriminators": networks, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for term, network in self.discriminators.items():
            network.load_state_dict(state["discriminators"][term])
        self.optimiser.load_state_dict(state["optimiser"])


class _Judges(nn.Module):
    """All discriminators as one module, called once for each backward pass, as DistributedDataParallel wants it."""

    def __init__(self, discriminators: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleDict(discriminators)

    def forward(self, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The logits of real and generated images by loss term."""
        return {
            term: judge(discriminator, real_b3hw, fake_b3hw, mask_b1hw)
            for term, discriminator in self.discriminators.items()
        }


def judge(discriminator: nn.Module, real_b3hw: Tensor, fake_b3hw: Tensor, mask_b1hw: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of real and generated images.

    One pass over both, but two where the discriminator normalises over the batch: mixed statistics would tell every
    image what the other half looks like, and the published code takes two.
    """
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in discriminator.modules()):
        return discriminator(real_b3hw, mask_b1hw), discriminator(fake_b3hw, mask_b1hw)
    real, fake = discriminator(torch.cat([real_b3hw, fake_b3hw]), torch.cat([mask_b1hw, mask_b1hw])).chunk(2)
    return real, fake


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
    return mean(((output_bchw < SATURATED) | (output_bchw > 1 - SATURATED)).float(), share)
