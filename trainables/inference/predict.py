"""Applies a trained network to any image file: an inpainter fills a hole, a detector locates the filled region.

Networks work on squares of one size. An inpainter sees the hole in windows of that size (`filling.py`), a detector the
whole photograph (`scanning.py`). Results are in the pixels of the file.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional

from trainables import registry
from trainables.detect.blocks.heads import levels_of
from trainables.detect.calibration import Threshold, probability
from trainables.detect.output import DetectorOutput
from trainables.errors import TrialError
from trainables.inference import filling, scanning, user_images
from trainables.inference.user_images import Box, Mask, Picture
from trainables.training.checkpoint import load_weights
from trainables.training.networks import build_network

LEAST_MAP = 4
"""Smallest side of the feature maps for Grad-CAM, px, if the network has maps that large."""
MAP_WHITE = 65_535
"""The value of a pixel of `score_map` that is inpainted for sure."""
_STEM_BYTES, _SUFFIX_BYTES = 200, 20
"""Longest stem and suffix of an image that the names of its results keep."""
_BOX_COLOUR = (220, 30, 30)


def inpainter(config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> nn.Module:
    """The network of a trial of task `inpaint`. Raises TrialError if the model does not fill images itself.

    config: the trial's resolved configuration.
    """
    if "val" not in registry.model(config["model"]["name"]).config.splits:
        raise _unfit(config, "it only reads images that were filled elsewhere", "a trial whose model fills holes")
    network = build_network(config["model"], config["data"]["size"])
    load_weights(network, weights, "weights")
    return network.eval().to(device)


def detector(config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> nn.Module:
    """The network of a trial of task `detect`. Raises TrialError for a baseline without weights."""
    if not registry.model(config["model"]["name"]).config.trains:
        raise _unfit(config, "it is a baseline without stored weights", "a trained detector")
    network = build_network(config["model"], config["data"]["input_size"])
    load_weights(network, weights, "weights")
    return network.eval().to(device)


def _unfit(config: Mapping[str, Any], why: str, allowed: str) -> TrialError:
    return TrialError(f"model: {config['model']['name']}", why, allowed, "choose another trial, see `sweeps status`")


# --- filling ----------------------------------------------------------------------------------------------------------


def check_hole(config: Mapping[str, Any], hole_hw: Mask) -> None:
    """Raise TrialError if the model cannot fill this hole: some context encoders fill the image's centre only."""
    share = ((0.25, 0.75),) * 2
    rows, columns = np.flatnonzero(hole_hw.any(1)), np.flatnonzero(hole_hw.any(0))
    inside = all(
        low * side <= positions[0] and positions[-1] + 1 <= high * side
        for positions, side, (low, high) in zip((rows, columns), hole_hw.shape, share, strict=True)
    )
    mask = {"name": "centre", "fraction": 0.25} if inside else {"name": "the one given"}
    registry.find("method", config["model"]["name"]).options(config["model"]).check(mask, config["data"]["size"])


def check_text(config: Mapping[str, Any]) -> None:
    """Raise TrialError if the model does not take a caption."""
    if not registry.model(config["model"]["name"]).config.takes_text:
        some = ", ".join(name for name in registry.names("method") if registry.find("method", name).config.takes_text)
        raise _unfit(config, "it takes no text", f"text with a model that takes it: {some}")


def fill(
    network: nn.Module,
    config: Mapping[str, Any],
    picture: Picture,
    hole_hw: Mask,
    text: str | None = None,
    resize: bool = False,
) -> filling.Filled:
    """The stored image with its hole filled, and how it was filled.

    config: the trial's resolved configuration. hole_hw: in upright orientation.
    text: the caption, for a network that takes one; None for an empty caption.
    resize: fill a copy of the whole image that is resized to the network's square.

    A pixel of a resized window is missing if any part of it is in the hole, so the network never sees hole pixels.
    """
    if resize:
        check_hole(config, hole_hw)
    options = registry.find("method", config["model"]["name"]).options(config["model"])
    painter = filling.Painter(network, config["data"]["size"], text, options.centred)
    how = filling.resized if resize else filling.windowed
    filled = how(painter, picture.upright(), hole_hw)
    deep = picture.filled_deep(filled.image, hole_hw)
    return replace(filled, image=picture.filled(filled.image, hole_hw), deep=deep)


def fill_files(filled: filling.Filled, picture: Picture) -> dict[str, bytes]:
    """`filled.png`, and `filled.json` with how it was filled."""
    return {
        "filled.png": picture.png(filled.image) if filled.deep is None else picture.deep_png(filled.deep),
        "filled.json": _json({**user_images.summary(picture), **filled.made, "note": filled.note or None}),
    }


def _json(summary: Mapping[str, Any]) -> bytes:
    return json.dumps(summary, indent=1, ensure_ascii=False).encode(errors="backslashreplace")


# --- detecting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detection:
    """The output of a detector for one file."""

    probability: float
    """Probability that the image was inpainted; of several windows, the highest."""
    threshold: float
    """From this probability on, the label is `inpainted`."""
    label: str
    """`inpainted` or `authentic`."""
    box: Box | None
    """x1 y1 x2 y2 in px of the file; None if the label is `authentic` or the head predicts no box."""
    heat_hw: Tensor
    """Heat map in [0, 1], upright."""
    made: str
    """What the heat map shows."""
    chosen: Mapping[str, Any]
    """How the threshold was chosen."""
    windows: Mapping[str, Any] | None
    """The windows and the probability in each; None if the whole image was resized."""
    note: str = ""
    """What limits the threshold, in words; empty if it has the false positive rate that was asked for."""


def detect(
    network: nn.Module,
    config: Mapping[str, Any],
    threshold: Callable[[int], Threshold],
    picture: Picture,
    resize: bool = False,
) -> Detection:
    """Scan an image in windows of the size of the detector's image set, at the resolution of the file.

    config: the trial's resolved configuration. threshold: the threshold for a number of windows.
    resize: resize the whole image to one such window, whatever its aspect.
    """
    own, image = scanning.set_size(config), image_to_scan(config, picture, resize)
    scan = scanning.scan(network, config, image)
    limit, logit = threshold(scan.windows), float(scan.logit_rc.max())
    box = scan.box() if logit >= limit.logit else None
    heat_hw, made = torch.from_numpy(scan.map_hw), scan.made
    if image.size == (own, own) and not scan.gives_mask and has_trunk(network):
        device = next(network.parameters()).device
        seen_b3hw = scanning.network_input(np.asarray(image)[None], config["data"]["input_size"], device)
        heat_hw, made = activation(network, seen_b3hw), "Grad-CAM of the label"
    return Detection(
        probability(logit),
        limit.probability,
        "inpainted" if logit >= limit.logit else "authentic",
        None if box is None else picture.box_back(box),
        heat_hw,
        made,
        limit.origin,
        None if resize else scan.summary(),
        limit.note,
    )


def image_to_scan(config: Mapping[str, Any], picture: Picture, resize: bool) -> Image.Image:
    """The upright image that a detector scans. config, resize: see `detect`."""
    own, image = scanning.set_size(config), picture.upright()
    return image.resize((own, own), Image.Resampling.BOX) if resize else image


def has_trunk(network: nn.Module) -> bool:
    """Whether `activation` applies."""
    return "trunk" in dict(network.named_children())


def activation(network: nn.Module, image_b3hw: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) of the label's logit on the trunk's last feature maps of at least LEAST_MAP px.

    Returns a map in [0, 1] with the size of those feature maps. Channels are weighted by the mean gradient of the
    logit; negative sums are set to 0.
    """
    trunk = network.get_submodule("trunk")
    assert isinstance(trunk, nn.Module)
    prepared = network.prepared(image_b3hw)  # type: ignore[operator]
    levels, _ = levels_of(trunk, prepared.expand(2, -1, -1, -1))
    level = next((one for one in levels if one.side >= LEAST_MAP), levels[-1])
    outputs: list[Tensor] = []
    layer = trunk.get_submodule(level.module)
    hook = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.enable_grad():
        found: DetectorOutput = network(image_b3hw.clone().requires_grad_())
        # A shared layer runs several times: take its last output at this level's size.
        raw = [output for output in outputs if level.side in output.shape[2:] or level.channels_last][-1]
        (gradient,) = torch.autograd.grad(found.logit_b.sum(), raw)
    hook.remove()
    maps, gradient = raw.detach()[0], gradient[0]
    if level.channels_last:
        maps, gradient = maps.permute(2, 0, 1), gradient.permute(2, 0, 1)
    heat_hw = (maps * gradient.mean((1, 2), keepdim=True)).sum(0).relu()
    return (heat_hw / heat_hw.max().clamp(min=1e-12)).cpu()


def files(finding: Detection, picture: Picture) -> dict[str, bytes]:
    """`found.json`, `found.png` (the image with the box) and `heat.png` (the heat map over it), in px of the file."""
    upright = picture.upright()
    summary = {
        **user_images.summary(picture),
        "label": finding.label,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "threshold_chosen": dict(finding.chosen),
        "box": None if finding.box is None else [round(value, 2) for value in finding.box],
        "heat_map": finding.made,
        "resized": finding.windows is None,
        "windows": finding.windows,
    }
    shown = picture.back(upright).copy()  # the heat map is drawn over the image without the box
    if finding.box is not None:
        ImageDraw.Draw(shown).rectangle(finding.box, outline=_BOX_COLOUR, width=max(1, min(shown.size) // 150))
    heat = Image.fromarray(finding.heat_hw.mul(255).round().byte().numpy()).resize(
        upright.size, Image.Resampling.BICUBIC
    )
    grey = upright.convert("L").point(lambda value: value // 2)
    warm = Image.merge("RGB", [Image.fromarray(np.maximum(np.asarray(heat), np.asarray(grey))), grey, grey])
    return {
        "found.json": _json(summary),
        "found.png": picture.png(shown),
        "heat.png": picture.png(picture.back(warm)),
    }


def score_map(finding: Detection, picture: Picture) -> bytes | None:
    """The probability of each pixel as a grey PNG of 16 bits, which `sweeps score` rates: upright, in px of the file.

    None if the network has no mask head, because its heat map shows no probabilities of pixels.
    """
    if finding.made != scanning.OF_MASK:
        return None
    width, height = picture.upright().size
    map_hw = functional.interpolate(finding.heat_hw[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    buffer = io.BytesIO()
    Image.fromarray(map_hw.clamp(0, 1).mul(MAP_WHITE).round().numpy().astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def output_names(given: list[Path]) -> list[str]:
    """Names for the results of each file: the file's name, with a number if several files have the same name.

    A long name is shortened, because a suffix is added and file systems allow 255 bytes.
    """
    seen: dict[str, int] = {}
    names = []
    for file in given:
        stem, suffix = _first_bytes(file.stem, _STEM_BYTES), _first_bytes(file.suffix, _SUFFIX_BYTES)
        number = seen[stem + suffix] = seen.get(stem + suffix, 0) + 1
        names.append(f"{stem}-{number}{suffix}" if number > 1 else f"{stem}{suffix}")
    return names


def _first_bytes(name: str, count: int) -> str:
    """The characters that fit into `count` bytes of a file name."""
    return os.fsencode(name)[:count].decode(errors="ignore") if len(os.fsencode(name)) > count else name
