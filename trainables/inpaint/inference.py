"""Inference on 8-bit images with trained networks and with fills that need no training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables import registry
from trainables.errors import TrialError
from trainables.training.checkpoint import load_weights
from trainables.training.networks import build_network
from trainables.training.session import Networks

LoadTrained = Networks
AT_ONCE = 2**21
"""Maximum number of pixels in one batch: 32 images of 256 px."""


@dataclass(frozen=True)
class Inpainter:
    """A network or fill in evaluation mode, on its device."""

    label: str
    """Name of the fill, or id of the trial that trained the network."""
    network: Any
    device: torch.device
    takes_text: bool = False

    def fill(self, image_n3hw: Tensor, mask_n1hw: Tensor, captions: Sequence[str]) -> Tensor:
        """Blank the holes and return the whole output for uint8 images and boolean masks, as uint8 on the CPU.

        captions: one for each image, possibly empty; ignored unless the network takes text.
        """
        at_once = max(1, AT_ONCE // image_n3hw[0, 0].numel())
        parts = []
        with torch.inference_mode():
            batches = zip(torch.split(image_n3hw, at_once), torch.split(mask_n1hw, at_once), strict=True)
            for start, (image_b3hw, mask_b1hw) in zip(range(0, len(image_n3hw), at_once), batches, strict=True):
                hole_b1hw = mask_b1hw.to(self.device, torch.float32)
                damaged_b3hw = image_b3hw.to(self.device, torch.float32).div_(255).mul_(1 - hole_b1hw)
                read = (self.network.tokens(captions[start : start + at_once]),) if self.takes_text else ()
                output_b3hw: Tensor = self.network(damaged_b3hw, hole_b1hw, *read)
                parts.append(output_b3hw.clamp(0, 1).mul(255).round_().to(torch.uint8).cpu())
        return torch.cat(parts)


def load(block: Mapping[str, Any], trained: LoadTrained, device: str = "cpu") -> list[Inpainter]:
    """Load the inpainters of a resolved forge block, in its order, for its images and masks.

    trained: configuration and weights of finished trials, by trial id.

    Raises TrialError if a trial is not in `trained` (it has not finished), is not an inpainter, was trained at another
    size or with captions that the block lacks, cannot fill these masks, or has weights that do not fit its network.
    """
    inpainters, size = [], block["images"]["size"]
    for section in block["inpainters"]:
        takes_text = False
        if "trial" in section:
            network = trained_network(section["trial"], trained, size, block["mask"])
            takes_text = registry.model(trained[section["trial"]][0]["model"]["name"]).config.takes_text
            if takes_text and block.get("captions") is None:  # older blocks have no such key
                _check_without_captions(section["trial"], trained[section["trial"]][0])
        else:
            network = build_network(section, size)
        label = section.get("trial") or section["name"]
        inpainters.append(Inpainter(label, network.eval().to(device), torch.device(device), takes_text))
    return inpainters


def trained_network(trial: str, trained: LoadTrained, size: int, mask: Mapping[str, Any]) -> nn.Module:
    """Build the network of a trial and load its weights, on the CPU."""
    if trial not in trained:
        raise _error(trial, "it has no finished result", "a finished trial", "run its sweep to the end first")
    config, weights = trained[trial]
    name = config.get("model", {}).get("name")
    code = registry.model(name) if isinstance(name, str) else None
    if code is None or code.kind != "method" or not code.config.trains:
        raise _error(
            trial,
            f"its model is {name}, which is not a trained inpainter",
            "a trial of task inpaint with a model that trains",
            "name another trial; name a fill that needs no training directly, as in `inpainters: [{name: telea}]`",
        )
    if config["data"]["size"] != size:
        raise _error(
            trial,
            f"it was trained on images of {config['data']['size']} px, but these have {size} px",
            f"an inpainter trained at {size} px",
            f"set `images: {{size: {config['data']['size']}}}`, or name another inpainter",
        )
    options = code.options(config["model"])
    options.check_size(size)
    options.check(mask, size)
    network = build_network(config["model"], size)
    load_weights(network, weights, f"inpainters: {{trial: {trial}}}")
    return network


def _check_without_captions(trial: str, config: Mapping[str, Any]) -> None:
    """Check that a network that takes text has not learned to read captions."""
    captions = config["data"].get("captions")
    if not captions or captions["text"] == "none":
        return
    source = {key: value for key, value in captions.items() if key != "text" and value is not None}
    raise TrialError(
        f"inpainters: {{trial: {trial}}} without `captions`",
        "it was trained with captions, and makes other fakes without them",
        "captions from a template, a file or a folder",
        f"captions: {json.dumps(source, ensure_ascii=False)}, as in its training",
        "captions",
    )


def _error(trial: str, why: str, allowed: str, fix: str) -> TrialError:
    return TrialError(f"inpainters: {{trial: {trial}}}", why, allowed, fix, "inpainters")
