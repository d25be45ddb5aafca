"""A trained network on an image of anybody's: an inpainter fills a hole, a detector says what was filled.

Networks work on squares of one size. The image is made that large, whatever its shape, and what comes out is brought
back: a fill to the hole alone, in full size; a box to the pixels of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from trainables.detect.blocks.heads import levels_of
from trainables.detect.inference import located
from trainables.detect.output import Found
from trainables.detect.perturbations import resize
from trainables.errors import TrialError
from trainables.inference import user_images
from trainables.inference.user_images import Box, Mask, Picture
from trainables.registry import model_config, model_names
from trainables.training.checkpoint import load_weights
from trainables.training.networks import build_network

LEAST_MAP = 4
"""Side of the maps that a class activation is taken from, if the network has any that large."""
_LINE = (220, 30, 30)


def inpainter(config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> nn.Module:
    """The network of a trial of task `inpaint`. config: resolved. Raises TrialError where it fills nothing itself."""
    if "val" not in model_config(config["model"]["name"]).splits:
        raise _unfit(config, "it reads what others have filled", "a trial whose model fills holes")
    network = build_network(config["model"], config["data"]["size"])
    load_weights(network, weights, "weights")
    return network.eval().to(device)


def detector(config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> nn.Module:
    """The network of a trial of task `detect`. Raises TrialError for a baseline, which has no weights."""
    if not model_config(config["model"]["name"]).trains:
        raise _unfit(config, "that baseline is learnt from its data set alone, and is not kept", "a trained detector")
    section = {**config["model"], **({"weights": "none"} if "weights" in config["model"] else {})}  # none are fetched
    network = build_network(section, config["data"]["input_size"])
    load_weights(network, weights, "weights")
    return network.eval().to(device)


def _unfit(config: Mapping[str, Any], why: str, allowed: str) -> TrialError:
    return TrialError(f"model: {config['model']['name']}", why, allowed, "another trial, see sweeps status")


# --- filling ----------------------------------------------------------------------------------------------------------


def check_hole(config: Mapping[str, Any], hole_hw: Mask) -> None:
    """Raise TrialError where the model cannot fill such a hole: context encoders of the centre fill that alone."""
    share = ((0.25, 0.75),) * 2
    rows, columns = np.flatnonzero(hole_hw.any(1)), np.flatnonzero(hole_hw.any(0))
    inside = all(
        low * side <= found[0] and found[-1] + 1 <= high * side
        for found, side, (low, high) in zip((rows, columns), hole_hw.shape, share, strict=True)
    )
    mask = {"name": "centre", "fraction": 0.25} if inside else {"name": "the one given"}
    section = {key: value for key, value in config["model"].items() if key != "name"}
    model_config(config["model"]["name"]).model_validate(section).check(mask, config["data"]["size"])


def check_text(config: Mapping[str, Any]) -> None:
    """Raise TrialError where the model takes no caption."""
    if not model_config(config["model"]["name"]).takes_text:
        some = ", ".join(name for name in model_names() if model_config(name).takes_text)
        raise _unfit(config, "it takes no text", f"text for models that take it: {some}")


def fill(network: nn.Module, size: int, picture: Picture, hole_hw: Mask, text: str | None = None) -> Image.Image:
    """The stored image with its hole filled. hole_hw: upright. size: px that the network works at.

    text: what the image shows, for a network that takes captions; None: an empty one.

    A pixel of the small image is missing where any part of it is, so nothing of the hole is ever seen.
    """
    upright = picture.upright()
    small = upright.resize((size, size), Image.Resampling.BOX)
    coverage = Image.fromarray(hole_hw.astype(np.uint8) * 255).resize((size, size), Image.Resampling.BOX)
    device = next(network.parameters(), torch.empty(0)).device
    mask_b1hw = (torch.from_numpy(np.array(coverage)) > 0).float()[None, None].to(device)
    with torch.inference_mode():
        read = () if text is None else (network.tokens([text]),)  # type: ignore[operator]
        output_b3hw = network(_tensor(small, device) * (1 - mask_b1hw), mask_b1hw, *read).clamp(0, 1)
    filled = Image.fromarray(_bytes(output_b3hw[0])).resize(upright.size, Image.Resampling.BICUBIC)
    return picture.filled(filled, hole_hw)


def _tensor(image: Image.Image, device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(255).to(device)


def _bytes(image_3hw: Tensor) -> Any:
    return image_3hw.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


# --- detecting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What a detector says of a file.

    probability: that it was inpainted; above `threshold`, it says so. box: x1 y1 x2 y2 in px of the file, None where it
    says that nothing was filled, or the head gives none. heat: upright, 0 to 1; made: what the heat map shows.
    """

    probability: float
    threshold: float
    box: Box | None
    heat_hw: Tensor
    made: str

    @property
    def label(self) -> str:
        return "inpainted" if self.probability >= self.threshold else "authentic"


def find(network: nn.Module, config: Mapping[str, Any], threshold: float, picture: Picture) -> Finding:
    """Judge a picture as the images of the trial were judged: in the size of its set, then in that of the network."""
    own = config["data"]["forged"]["images"]["size"] if config["data"].get("forged") else config["data"]["set"]["size"]
    side = config["data"]["input_size"]
    small = picture.upright().resize((own, own), Image.Resampling.BOX)
    device = next(network.parameters()).device
    image_b3hw = resize(_tensor(small, device).mul(255), side).round().clamp(0, 255).div(255)
    with torch.inference_mode():
        found: Found = network(image_b3hw)
        box_b4, _, heat_b1hw = located(found, own)
    probability = float(found.logit_b.double().sigmoid())
    box: Box | None = None
    if box_b4 is not None and probability >= threshold:
        x1, y1, x2, y2 = box_b4[0].tolist()
        box = picture.box_back((x1, y1, x2, y2))
    if heat_b1hw is not None:
        return Finding(
            probability, threshold, box, heat_b1hw[0, 0].cpu(), "probability of each pixel, by the mask head"
        )
    return Finding(probability, threshold, box, activation(network, image_b3hw), "Grad-CAM of the label")


def activation(network: nn.Module, image_b3hw: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) of the label's logit on the trunk's last maps of at least LEAST_MAP px.

    (h, w) of those maps, from 0 to 1. The maps' channels are weighted by the mean gradient of the logit, negative sums
    are 0.
    """
    trunk = network.get_submodule("trunk")
    assert isinstance(trunk, nn.Module)
    prepared = network.prepared(image_b3hw)  # type: ignore[operator]
    levels, _ = levels_of(trunk, prepared.expand(2, -1, -1, -1))
    level = next((one for one in levels if one.side >= LEAST_MAP), levels[-1])
    kept: list[Tensor] = []
    hook = trunk.get_submodule(level.module).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.enable_grad():
        found: Found = network(image_b3hw.clone().requires_grad_())
        raw = [output for output in kept if level.side in output.shape[2:] or level.channels_last][-1]  # shared layers
        (slope,) = torch.autograd.grad(found.logit_b.sum(), raw)
    hook.remove()
    maps, slope = raw.detach()[0], slope[0]
    if level.channels_last:
        maps, slope = maps.permute(2, 0, 1), slope.permute(2, 0, 1)
    heat_hw = (maps * slope.mean((1, 2), keepdim=True)).sum(0).relu()
    return (heat_hw / heat_hw.max().clamp(min=1e-12)).cpu()


def files(finding: Finding, picture: Picture) -> dict[str, bytes]:
    """`found.json`, `found.png` (the image with the box), `heat.png` (the heat map over it), in the file's pixels."""
    upright = picture.upright()
    said = {
        **user_images.summary(picture),
        "label": finding.label,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "box": None if finding.box is None else [round(value, 2) for value in finding.box],
        "heat_map": finding.made,
    }
    shown = picture.back(upright).copy()  # the heat map is drawn over the image without the box
    if finding.box is not None:
        ImageDraw.Draw(shown).rectangle(finding.box, outline=_LINE, width=max(1, min(shown.size) // 150))
    heat = Image.fromarray(finding.heat_hw.mul(255).round().byte().numpy()).resize(
        upright.size, Image.Resampling.BICUBIC
    )
    grey = upright.convert("L").point(lambda value: value // 2)
    warm = Image.merge("RGB", [Image.fromarray(np.maximum(np.asarray(heat), np.asarray(grey))), grey, grey])
    return {
        "found.json": json.dumps(said, indent=1, ensure_ascii=False).encode(),
        "found.png": picture.png(shown),
        "heat.png": picture.png(picture.back(warm)),
    }


def output_names(given: list[Path]) -> list[str]:
    """What the results of each file are called: its name, with a number where two files have the same."""
    seen: dict[str, int] = {}
    names = []
    for file in given:
        seen[file.name] = seen.get(file.name, 0) + 1
        names.append(file.name if seen[file.name] == 1 else f"{file.stem}-{seen[file.name]}{file.suffix}")
    return names
