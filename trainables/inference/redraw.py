"""Fills chosen test images again with the network of a finished trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainables.inpaint import task as inpaint
from trainables.inpaint.dataset import load
from trainables.inpaint.evaluation import per_image
from trainables.training import checkpoint
from trainables.training.networks import build_network
from trainables.training.session import Machine


def strips(
    config: Mapping[str, Any], files: Mapping[str, bytes] | None, images: Sequence[int], machine: Machine
) -> dict[str, bytes]:
    """Picture strips of these test images, like the samples of a trial of task `inpaint`.

    config: the trial's resolved configuration.
    files: the files of its last checkpoint; None for a model without parameters.

    Only what fills holes is built and loaded, without optimiser and discriminators.
    """
    config = {**config, "loss": {}, "features": None, "protocol": None}
    size = config["data"]["size"]
    network: Any = build_network(config["model"], size)
    method, options = inpaint.build_method(config, network, size, machine)
    if files is not None:
        state, _, _ = checkpoint.unpack(files)
        method.load_state_dict(state)
    data = load(config, machine, network.text.vocabulary if options.takes_text else None)
    return per_image.strips(method.fill, data, torch.tensor(images))
