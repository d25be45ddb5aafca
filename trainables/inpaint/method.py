"""Methods: what learns in task `inpaint`, and the base classes that most methods are built on.

The module `network` of a method gives `build(config, size) -> nn.Module`; the method is then a `Regression`, or a fill
without training if the network has no parameters. Anything else is a function or class `method(setup) -> Method` in the
same module.
Most return a subclass of `Regression` or `GAN` that overrides the one function that is different.

Every network is called as `forward(damaged_b3hw, mask_b1hw) -> image_b3hw`, with images in [0, 1]. It takes tokens_bt
of captions as third argument if `Config.takes_text` is set, and `generator=` if `Config.samples` is.

Shapes: b images of this worker, 3 channels; mask_b1hw is 1 where a pixel is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainables.code.references import label
from trainables.config.sections import Phase, PhasesConfig
from trainables.inpaint import perceptual_features
from trainables.inpaint.adversarial import Discriminators, Objective, gradient_norm, saturated
from trainables.inpaint.batch import Batch, LossTerm, batch_means
from trainables.inpaint.config import reconstruction_terms
from trainables.inpaint.method_checks import check_loss, check_output, check_prediction, check_values
from trainables.inpaint.predicted_region import PredictedRegion
from trainables.inpaint.setup import Setup
from trainables.training import optimisers
from trainables.training.compiled import compiled
from trainables.training.loop import derive
from trainables.training.precision import full
from trainables.training.terms import Terms, as_sums

__all__ = [
    "GAN",
    "Batch",
    "Calls",
    "LossTerm",
    "Method",
    "Regression",
    "Setup",
    "Terms",
    "TrainingOutput",
    "as_sums",
    "batch_means",
]
"""What the module of a method needs."""


class Method(Protocol):
    """What the task knows of a method."""

    parameters: int
    """Number of parameters of the trained network; 0 for a fill that needs no training."""

    def training_step(self, batch: Batch) -> Terms:
        """Train on one batch; returns (sum, count) for every value to record, among them `loss`."""

    def fill(
        self,
        image_b3hw: Tensor,
        mask_b1hw: Tensor,
        tokens_bt: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Fill the holes; returns whole images in [0, 1], without gradients.

        tokens_bt: captions, if the images have any.
        generator: makes a method that samples draw one fill; without it, such a method is deterministic.
        """

    def state_dict(self) -> dict[str, Any]:
        """The complete state for a bit-exact continuation; tensors and plain data only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    def inference_weights(self) -> dict[str, Tensor]:
        """The weights that `build`'s network needs to fill holes."""


@dataclass(frozen=True)
class TrainingOutput:
    """What a network makes of a batch in training. A method may return a subclass with more fields."""

    image_b3hw: Tensor
    """The images that the reconstruction losses compare with the original ones, in [0, 1]."""
    terms: Mapping[str, LossTerm] = field(default_factory=dict)
    """Loss terms that are computed together with the images; only those that have a weight."""


class Calls(nn.Module):
    """A module whose `forward` calls another function of a network: DistributedDataParallel wraps `forward` alone."""

    def __init__(self, network: nn.Module, function: str) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *inputs: Any) -> Any:
        return getattr(self.network, self.function)(*inputs)


class Regression:
    """A network, reconstruction losses and an optimiser."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.options, self.network, self.workers = setup.options, setup.network, setup.workers
        self.precision = setup.precision
        self.weights: dict[str, float] = {label(name): weight for name, weight in setup.config["loss"].items()}
        self.reconstruction = reconstruction_terms(setup.config["loss"])
        self.parameters = sum(p.numel() for p in self.network.parameters())
        self.region = self.compared_region()
        self.optimiser: torch.optim.Optimizer | None = None
        self.features: perceptual_features.FeatureNetwork | None = None
        self.trained: nn.Module = self.network
        self.checked = False  # whether the values of an output have been checked
        if self.parameters and self.weights:
            self.optimiser = setup.optimiser(self.network.parameters())
            meta = torch.empty(1, 1, setup.size, setup.size, device="meta")
            self.features = setup.features(self.region.crop(meta).shape[2])
            self.network.train()  # a network may keep parts of itself in eval mode
            module = self.training_module()
            if setup.config.get("compile"):
                module = compiled(module, setup.machine.scratch)
            self.trained = self.workers.prepare(module)

    # --- functions to override ----------------------------------------------------------------------------------------

    def compared_region(self) -> PredictedRegion:
        """The part of the output that the reconstruction losses compare, and the range in which they do so."""
        return PredictedRegion()

    def training_module(self) -> nn.Module:
        """The module that `predict` calls, once in each step: with several workers, it is wrapped."""
        module: nn.Module = self.network
        return module

    def predict(self, batch: Batch) -> TrainingOutput:
        """Call the network with gradients."""
        with self.precision.cast():
            output_b3hw: Tensor = self.trained(batch.damaged_b3hw, batch.mask_b1hw, *self.text(batch.tokens_bt))
        check_output(self.network, output_b3hw, batch.image_b3hw, self.precision, self.setup.build)
        return TrainingOutput(full(output_b3hw))

    def losses(self, prediction: TrainingOutput, batch: Batch) -> dict[str, LossTerm]:
        """All loss terms with a weight: those of the prediction, and those of `trainables.inpaint.losses`."""
        crop, output_b3hw = self.region.crop, prediction.image_b3hw
        inputs: dict[str, Any] = {
            "prediction_b3hw": self.region.image(output_b3hw),
            "target_b3hw": self.region.image(batch.image_b3hw),
            "mask_b1hw": crop(batch.mask_b1hw),
            "known_weight": self.region.known_weight,
        }
        if self.features:
            inputs["features"] = self.features.compare(crop(output_b3hw), crop(batch.image_b3hw), crop(batch.mask_b1hw))
        terms = dict(prediction.terms)
        for name, code in self.reconstruction.items():
            terms[name] = check_loss(code, code.function()(*(inputs[key] for key in code.inputs)))
        return terms

    def minimise(self, loss: Tensor) -> dict[str, Tensor]:
        """Take one step of the optimiser; returns further values to record, equal on all workers."""
        assert self.optimiser is not None, "a method without parameters is not trained"
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        records = self.use_gradients()
        self.optimiser.step()
        return records

    def use_gradients(self) -> dict[str, Tensor]:
        """Called between the backward pass and the optimiser's step: may change gradients; returns values to record."""
        return {}

    def learning_rate_factor(self, epoch: int) -> float:
        """Factor of the configured learning rates in an epoch."""
        return optimisers.decay(self.setup.config.get("schedule"), epoch, self.setup.config["epochs"])

    # --- the interface of the task ------------------------------------------------------------------------------------

    def training_step(self, batch: Batch) -> Terms:
        self.begin_step(batch)
        means = batch_means(self.losses(self.checked_prediction(batch), batch), batch.part)
        loss = self.total(means)
        return self.end_step(batch, {"loss": loss, **means}, self.minimise(loss))

    def checked_prediction(self, batch: Batch) -> TrainingOutput:
        """`predict`; the first output is checked, also of a `predict` that calls other functions of the network."""
        prediction = self.predict(batch)
        if not self.checked:
            check_prediction(self, prediction, batch.image_b3hw)
            self.checked = True
        return prediction

    def begin_step(self, batch: Batch) -> None:
        """Set training mode and learning rates."""
        if not self.network.training:
            self.network.train()
        factor = self.learning_rate_factor(batch.epoch)
        for optimiser in self.all_optimisers():
            optimisers.scale_rate(optimiser, factor)

    def all_optimisers(self) -> list[torch.optim.Optimizer]:
        return [self.optimiser] if self.optimiser else []

    def total(self, means: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the terms."""
        first, *others = (weight * means[name] for name, weight in self.weights.items() if name in means)
        return sum(others, first)

    def end_step(self, batch: Batch, means: Mapping[str, Tensor], records: Mapping[str, Tensor]) -> Terms:
        """The values to record; after an epoch, all workers get the same running statistics.

        means: as returned by `batch_means`. records: further means, which are numbers also for an empty part.
        """
        if batch.last:
            self.workers.sync_buffers(self.network)
        if not batch.part.images:
            means = {name: mean.new_zeros(()) for name, mean in means.items()}
        return as_sums({**means, **records}, batch.part)

    def text(self, tokens_bt: Tensor | None) -> tuple[Tensor, ...]:
        """The network's argument for captions: none if it takes no text or there are no captions."""
        return (tokens_bt,) if self.options.takes_text and tokens_bt is not None else ()

    def fill(
        self,
        image_b3hw: Tensor,
        mask_b1hw: Tensor,
        tokens_bt: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if self.network.training:
            self.network.eval()
        drawn = {} if generator is None else {"generator": generator}
        with torch.inference_mode(), self.precision.cast():
            damaged_b3hw = image_b3hw * (1 - mask_b1hw)
            output_b3hw: Tensor = self.network(damaged_b3hw, mask_b1hw, *self.text(tokens_bt), **drawn)
            check_output(self.network, output_b3hw, image_b3hw, self.precision, self.setup.build)
            if not self.parameters and not self.checked:
                check_values(self.network, output_b3hw, self.setup.build)
                self.checked = True
            return full(output_b3hw).clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        optimiser = self.optimiser.state_dict() if self.optimiser else {}
        return {"network": self.network.state_dict(), "optimiser": optimiser}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        if self.optimiser:
            self.optimiser.load_state_dict(state["optimiser"])

    def inference_weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = self.network.state_dict()
        return weights


class GAN(Regression):
    """A `Regression` with a discriminator for each adversarial loss term that has a weight.

    Each step trains the discriminators, then the network, each if the phase of the epoch trains it. The adversarial
    terms are recorded in phase `both` only.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        section = setup.config.get("phases")
        self.phases = None if section is None else PhasesConfig.model_validate(section)
        terms = [term for term in self.weights if term in self.options.adversarial]
        self.discriminators = self._build_discriminators(terms) if terms else None

    def _build_discriminators(self, terms: Iterable[str]) -> Discriminators:
        """Each discriminator has a random stream of its own, so its initialisation does not depend on the others."""
        objectives = {term: self.objective(term) for term in terms}
        networks = {}
        for term, objective in objectives.items():
            torch.manual_seed(derive(self.setup.config["seed"], "initialisation", term))
            networks[term] = self.setup.place(self.build_discriminator(term), twice=bool(objective.r1))
        parameters = [p for network in networks.values() for p in network.parameters()]
        optimiser = self.setup.optimiser(parameters, "discriminator_optimiser")
        return Discriminators(networks, optimiser, objectives, self.workers, self.precision)

    # --- functions to override ----------------------------------------------------------------------------------------

    def build_discriminator(self, term: str) -> nn.Module:
        """The discriminator of a loss term, see `trainables.inpaint.adversarial`."""
        raise NotImplementedError

    def objective(self, term: str) -> Objective:
        """What the discriminator of a loss term, and the generator with this term, minimise."""
        return Objective()

    def discriminator_input(self, prediction: TrainingOutput, batch: Batch) -> Tensor:
        """The generated images that the discriminators see."""
        return prediction.image_b3hw

    def adversarial_terms(
        self,
        discriminators: Discriminators,
        seen_b3hw: Tensor,
        prediction: TrainingOutput,
        batch: Batch,
    ) -> dict[str, Tensor]:
        """The loss terms of the generator that the discriminators compute. seen_b3hw: see `discriminator_input`."""
        return discriminators.terms(seen_b3hw, batch)

    def use_gradients(self) -> dict[str, Tensor]:
        return {"gradient_norm": gradient_norm(self.network.parameters())}

    def phase(self, epoch: int) -> Phase:
        """What an epoch trains. It depends only on the epoch, so checkpoints do not store it."""
        return "both" if self.phases is None else self.phases.at(epoch, self.setup.config["epochs"])

    # --- the interface of the task ------------------------------------------------------------------------------------

    def training_step(self, batch: Batch) -> Terms:
        self.begin_step(batch)
        phase = self.phase(batch.epoch)
        learns = phase != "discriminators"
        discriminators = self.discriminators if phase != "completion" else None
        terms: dict[str, LossTerm] = {}
        records: dict[str, Tensor] = {}
        with torch.set_grad_enabled(learns):
            prediction = self.checked_prediction(batch)
        if discriminators:
            with torch.set_grad_enabled(learns):
                seen_b3hw = self.discriminator_input(prediction, batch)
            records |= discriminators.step(seen_b3hw, batch)
            if learns:
                terms |= self.adversarial_terms(discriminators, seen_b3hw, prediction, batch)
        with torch.set_grad_enabled(learns):
            means = batch_means({**terms, **self.losses(prediction, batch)}, batch.part)
            loss = self.total(means)
        if learns:
            records |= self.minimise(loss)
            records["saturated"] = batch.part.mean(saturated(self.region.crop(prediction.image_b3hw)))
        return self.end_step(batch, {"loss": loss, **means}, records)

    def all_optimisers(self) -> list[torch.optim.Optimizer]:
        own = super().all_optimisers()
        return [*own, self.discriminators.optimiser] if self.discriminators else own

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return {**state, "adversary": self.discriminators.state_dict()} if self.discriminators else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if self.discriminators:
            self.discriminators.load_state_dict(state["adversary"])
