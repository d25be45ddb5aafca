"""The learner of task `inpaint`: a network that fills holes, with its losses, optimiser and discriminators.

Shapes: b images, 3 channels; mask_b1hw is 1 where a pixel is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.sections import Phase
from trainables.inpaint import losses, perceptual_features
from trainables.inpaint.adversarial import FURTHER, Adversary, gradient_norm, saturated_share
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.registry import loss_inputs
from trainables.training import optimisers
from trainables.training.distributed import Workers
from trainables.training.precision import Precision, full


class InpaintLearner:
    """A network that fills holes, with its optimiser; in a GAN, the generator together with its discriminators."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer | None,
        weights: Mapping[str, float],
        scope: PredictedRegion = PredictedRegion(),  # noqa: B008 - frozen
        adversary: Adversary | None = None,
        observed: bool = False,
        workers: Workers = Workers(),  # noqa: B008 - frozen
        splits: tuple[str, ...] = ("val", "test"),
        classifier: perceptual_features.FeatureNetwork | None = None,
        own_terms: tuple[str, ...] = (),
        discriminates_composite: bool = False,
        precision: Precision = Precision(),  # noqa: B008 - frozen
        takes_text: bool = False,
        draws: int | None = None,
    ) -> None:
        """Prepare a network for training and evaluation.

        optimiser: None for a model without parameters.
        weights: weights of the loss terms, by name.
        scope: the part of the output that the reconstruction losses compare.
        observed: record gradient norm and saturation; set for every model that can have discriminators, even if no
            adversarial term has a weight.
        splits: the splits on which the model can be scored.
        classifier: feature network of the terms `perceptual` and `style`; None if neither has a weight.
        own_terms: the terms with a weight that the network computes itself, in its `learn` method.
        discriminates_composite: the discriminators see the composite instead of the output.
        draws: number of fills drawn for each test image by the diversity metrics; None for a deterministic network.
        """
        self.network: Any = network
        self.workers = workers
        called = _CallsLearn(network, own_terms) if own_terms else network
        self._trained = workers.prepare(called) if optimiser else network
        self.needs_full_batch = workers.size > 1 and hasattr(network, "part")
        self.own_terms = own_terms
        self.discriminates_composite = discriminates_composite
        self.precision = precision
        self.takes_text = takes_text
        self.draws = draws
        self.optimiser = optimiser
        self.weights_of_losses = dict(weights)
        self.scope = scope
        self.adversary = adversary
        self.observed = observed
        self.splits = splits
        self.classifier = classifier
        self.phase: Phase = "both"
        self.tested: Tensor | None = None  # `per_image.NAMES` of all test images, from the last evaluation
        self.tested_hits: Tensor | None = None  # `Judge.hits` of the same images
        self.parameters = sum(p.numel() for p in network.parameters())

    def step(self, image_b3hw: Tensor, mask_b1hw: Tensor, whole: int | None = None, *text: Tensor) -> dict[str, Tensor]:
        """Train on one batch: first the discriminators, then the network, each if the phase trains it.

        whole: number of images in the whole batch; the arguments are this worker's part of it, which may be empty.
            None if they are the whole batch.
        text: tokens_bt of the captions, if there are any; a network with a `part` takes those of the whole batch.

        Returns the values to record, as tensors on the device; the adversarial terms only in phase `both`.
        """
        assert self.optimiser is not None, "a model without parameters is not trained"
        learns = self.phase != "discriminators"
        share = self.workers.scale(len(image_b3hw), whole or len(image_b3hw))
        if self.needs_full_batch:
            self.network.part = self.workers.place(whole or len(image_b3hw))
        with torch.set_grad_enabled(learns):
            b = len(image_b3hw)
            judged_b3hw, own = self._learn(image_b3hw, mask_b1hw, *text)
            paths = len(judged_b3hw) // b if b else 1
            output_b3hw = judged_b3hw[:b] if paths > 1 else judged_b3hw
            if self.discriminates_composite:
                judged_b3hw = image_b3hw * (1 - mask_b1hw) + output_b3hw * mask_b1hw
        judges = None if self.phase == "completion" else self.adversary
        last_b3hw = judged_b3hw[-b:] if paths > 1 else judged_b3hw
        records = judges.step(last_b3hw, image_b3hw, mask_b1hw, share) if judges else {}
        with torch.set_grad_enabled(learns):
            adversarial = judges.terms(judged_b3hw, mask_b1hw, image_b3hw, paths) if judges and learns else {}
            terms = {**adversarial, **own, **self._reconstruction(output_b3hw, image_b3hw, mask_b1hw)}
            if self.workers.size > 1:
                terms = self._of_whole(terms, mask_b1hw, share)
            loss = sum(weight * terms[name] for name, weight in self.weights_of_losses.items() if name in terms)
        assert isinstance(loss, Tensor)
        if learns:
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.observed:
                records["gradient_norm"] = gradient_norm(self.network.parameters())
                records["saturated"] = saturated_share(self.scope.crop(output_b3hw), share)
            self.optimiser.step()
        if self.needs_full_batch:
            self.network.part = None
        if not share:
            loss, terms = loss.new_zeros(()), {name: term.new_zeros(()) for name, term in terms.items()}
        return {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}, **records}

    def _learn(self, image_b3hw: Tensor, mask_b1hw: Tensor, *text: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the network on the damaged images; returns its output and its own loss terms that have a weight."""
        damaged_b3hw = image_b3hw * (1 - mask_b1hw)
        read = text if self.takes_text else ()
        with self.precision.cast():
            if not self.own_terms:
                return full(self._trained(damaged_b3hw, mask_b1hw, *read)), {}
            made_b3hw, own = self._trained(damaged_b3hw, mask_b1hw, image_b3hw, *read)
            return full(made_b3hw), {name: full(term) for name, term in own.items()}

    def _reconstruction(self, output_b3hw: Tensor, image_b3hw: Tensor, mask_b1hw: Tensor) -> dict[str, Tensor]:
        """Every term of `trainables.inpaint.losses` that has a weight, with its graph."""
        other_terms = (*self.own_terms, *((*self.adversary.discriminators, *FURTHER) if self.adversary else ()))
        crop = self.scope.crop
        inputs = {
            "prediction_b3hw": self.scope.image(output_b3hw),
            "target_b3hw": self.scope.image(image_b3hw),
            "mask_b1hw": crop(mask_b1hw),
            "known_weight": self.scope.known_weight,
        }
        if self.classifier:
            inputs["features"] = self.classifier.compare(crop(output_b3hw), crop(image_b3hw), crop(mask_b1hw))
        return {
            name: getattr(losses, name)(**{key: inputs[key] for key in loss_inputs()[name]})
            for name in self.weights_of_losses
            if name not in other_terms
        }

    def _of_whole(self, terms: Mapping[str, Tensor], mask_b1hw: Tensor, share: float) -> dict[str, Tensor]:
        """Scale the terms of this worker's part so that their mean over the workers is the term of the whole batch.

        The terms of an empty part are NaN, but their graph is kept, because all workers have to take part in the
        backward pass; no gradient depends on them.
        """
        hole_b1hw = self.scope.crop(mask_b1hw)
        elements = {"_hole": hole_b1hw.sum(), "_valid": (1 - hole_b1hw).sum()}  # the denominators of these means
        shares = {
            suffix: self.workers.scale_of(count)
            for suffix, count in elements.items()
            if any(name.endswith(suffix) for name in terms)
        }
        return {
            name: term * next((of for suffix, of in shares.items() if name.endswith(suffix)), share)
            for name, term in terms.items()
        }

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to `factor` times the configured one."""
        for optimiser in (self.optimiser, self.adversary.optimiser if self.adversary else None):
            if optimiser is not None:
                optimisers.scale_rate(optimiser, factor)

    def fill(
        self, image_b3hw: Tensor, mask_b1hw: Tensor, *text: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Blank the holes and return the network's output, clamped to [0, 1], without gradients.

        text: tokens_bt of the captions, for a network that takes them.
        generator: makes a network that samples draw one fill; without it, such a network is deterministic.
        """
        read = text if self.takes_text else ()
        drawn = {} if generator is None else {"generator": generator}
        with torch.inference_mode(), self.precision.cast():
            output_b3hw: Tensor = self.network(image_b3hw * (1 - mask_b1hw), mask_b1hw, *read, **drawn)
            return full(output_b3hw).clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        optimiser = self.optimiser.state_dict() if self.optimiser else {}
        state = {"network": self.network.state_dict(), "optimiser": optimiser}
        return {**state, "adversary": self.adversary.state_dict()} if self.adversary else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        if self.optimiser:
            self.optimiser.load_state_dict(state["optimiser"])
        if self.adversary:
            self.adversary.load_state_dict(state["adversary"])

    def inference_weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = self.network.state_dict()
        return weights


class _CallsLearn(nn.Module):
    """Calls `network.learn` from `forward`, because DistributedDataParallel only wraps `forward`.

    Returns only the terms with a weight: DistributedDataParallel waits for the gradients of everything returned.
    """

    def __init__(self, network: Any, terms: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.terms = terms

    def forward(self, *inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        image_b3hw, terms = self.network.learn(*inputs)
        return image_b3hw, {name: terms[name] for name in self.terms}
