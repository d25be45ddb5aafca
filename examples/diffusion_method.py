"""A whole method: a network that predicts velocities, its training step by flow matching, and its sampler."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from trainables.config.model_sections import ModelConfig
from trainables.inpaint.method import Calls, as_sums, batch_means


class Config(ModelConfig):
    terms: ClassVar[tuple[str, ...]] = ("flow",)  # the loss term that this method computes
    width: int = Field(32, ge=1, description="channels of the hidden layers")
    steps: int = Field(5, ge=1, description="steps of the sampler; each calls the network once")


class VelocityNetwork(nn.Module):
    def __init__(self, width, steps):
        super().__init__()
        self.steps = steps
        layers = []
        for inputs, reach in ((8, 1), (width, 1), (width, 2), (width, 4)):
            layers += [nn.Conv2d(inputs, width, 3, padding=reach, dilation=reach), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def velocity(self, noisy, image, mask, time):
        return self.layers(torch.cat([noisy, image, mask, time.expand_as(mask)], 1))

    def forward(self, image, mask):
        """Fill by Euler steps from the mean of the noise; `sweeps predict` and `sweeps export` call it too."""
        state = torch.zeros_like(image)
        for time in torch.arange(self.steps, device=image.device) / self.steps:
            state = state + self.velocity(state, image, mask, time) / self.steps
        return torch.where(mask > 0.5, state, image)


class FlowMatching:
    def __init__(self, setup):
        self.network = setup.network  # from `build`, on the device
        self.parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.optimiser = setup.optimiser(self.network.parameters())
        self.trained = setup.workers.prepare(Calls(self.network, "velocity"))  # adds up the gradients of all workers

    def training_step(self, batch):
        image, mask, part = batch.image_b3hw, batch.mask_b1hw, batch.part
        source = torch.Generator(image.device).manual_seed(batch.noise_seed)  # drawn for the whole batch of all workers
        noise = part.of(torch.randn(part.whole, *image.shape[1:], generator=source, device=image.device))
        time = part.of(torch.rand(part.whole, 1, 1, 1, generator=source, device=image.device))
        velocity = self.trained((1 - time) * noise + time * image, batch.damaged_b3hw, mask, time)
        error = (velocity - (image - noise)).square()
        means = batch_means({"flow": ((error * mask).sum(), 3 * mask.sum())}, part)
        self.optimiser.zero_grad()
        means["flow"].backward()
        self.optimiser.step()
        return as_sums({"loss": means["flow"], **means}, part)

    @torch.inference_mode()
    def fill(self, image, mask, tokens=None, generator=None):
        return self.network(image * (1 - mask), mask).clamp(0, 1)

    def state_dict(self):
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def inference_weights(self):
        return self.network.state_dict()


def build(config, size):  # noqa: ARG001 - every `build` has these parameters
    return VelocityNetwork(config.width, config.steps)


def method(setup):
    return FlowMatching(setup)
