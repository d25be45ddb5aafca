"""Fills chosen test images again with the network of a finished trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainables.inpaint.dataset import load
from trainables.inpaint.evaluation import per_image
from trainables.inpaint.learner import InpaintLearner
from trainables.registry import model_config
from trainables.training import checkpoint
from trainables.training.networks import build_network
from trainables.training.session import Machine


def strips(
    config: Mapping[str, Any], files: Mapping[str, bytes] | None, images: Sequence[int], machine: Machine
) -> dict[str, bytes]:
    """Picture strips of these test images, like the samples of a trial of task `inpaint`.

    config: the trial's resolved configuration.
    files: the files of its last checkpoint; None for a model without parameters.

    Only the network is built and loaded, without optimiser and discriminators.
    """
    network: Any = build_network(config["model"], config["data"]["size"])
    if files is not None:
        state, _, _ = checkpoint.unpack(files)
        network.load_state_dict(state["network"])
    reads = model_config(config["model"]["name"]).takes_text
    data = load(config, machine, network.text.vocabulary if reads else None)
    learner = InpaintLearner(network.to(machine.device).eval(), None, {}, takes_text=reads)
    return per_image.strips(learner.fill, data, torch.tensor(images))
