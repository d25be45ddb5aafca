"""The training of the U-Net: flow matching, and the average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.inpaint.method import Batch, Calls, LossTerm, Regression, Setup, TrainingOutput
from trainables.training.precision import full


class FlowMatching(Regression):
    """Learns velocities; `network` is the average that fills holes, `learning` the network that is trained."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.learning = self.network
        self.network = copy.deepcopy(self.learning).requires_grad_(False)
        self.averaged = 0  # steps that the average has seen

    def training_module(self) -> nn.Module:
        return Calls(self.network, "velocity")

    def draw(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """noise_b3hw and time_b: every worker draws those of the whole batch and takes its part."""
        image_b3hw, whole = batch.image_b3hw, batch.part.whole
        kind: dict[str, Any] = {"dtype": image_b3hw.dtype, "device": image_b3hw.device}
        source = torch.Generator(image_b3hw.device).manual_seed(batch.noise_seed)
        noise_w3hw = torch.randn(whole, *image_b3hw.shape[1:], generator=source, **kind)
        time_w = (torch.rand(1, generator=source, **kind) + torch.arange(whole, **kind) / whole) % 1
        return batch.part.of(noise_w3hw), batch.part.of(time_w)

    def predict(self, batch: Batch) -> TrainingOutput:
        """The image estimated from one step, and `velocity`, the squared error of the velocity over the holes."""
        noise_b3hw, time_b = self.draw(batch)
        image_b3hw, time_b111 = batch.image_b3hw * 2 - 1, time_b[:, None, None, None]
        noisy_b3hw = noise_b3hw + time_b111 * (image_b3hw - noise_b3hw)
        with self.precision.cast():
            velocity_b3hw = full(self.trained(noisy_b3hw, batch.damaged_b3hw, batch.mask_b1hw, time_b))
        terms: dict[str, LossTerm] = {}
        if "velocity" in self.weights:
            error_b3hw = (velocity_b3hw - (image_b3hw - noise_b3hw)).square()
            terms["velocity"] = (error_b3hw * batch.mask_b1hw).sum(), batch.mask_b1hw.sum() * 3
        estimate_b3hw = (noisy_b3hw + (1 - time_b111) * velocity_b3hw) * 0.5 + 0.5
        return TrainingOutput(torch.where(batch.mask_b1hw > 0.5, estimate_b3hw, batch.image_b3hw), terms)

    def minimise(self, loss: Tensor) -> dict[str, Tensor]:
        """Take one step of the optimiser, then update the average of the weights."""
        records = super().minimise(loss)
        self.update_average()
        return records

    def use_gradients(self) -> dict[str, Tensor]:
        """Clip the gradient; returns its norm before clipping."""
        limit = math.inf if self.options.clip is None else self.options.clip
        return {"gradient_norm": nn.utils.clip_grad_norm_(self.learning.parameters(), limit)}

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the weights that learn."""
        decay = min(self.options.ema, (1 + self.averaged) / (10 + self.averaged))
        averages, weights = (list(network.parameters()) for network in (self.network, self.learning))
        torch._foreach_lerp_(averages, weights, 1 - decay)
        self.averaged += 1

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "learning": self.learning.state_dict(), "averaged": self.averaged}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.learning.load_state_dict(state["learning"])
        self.averaged = state["averaged"]
