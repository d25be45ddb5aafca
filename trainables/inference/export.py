"""A trained network as files for other programs: weights as safetensors, a `torch.export` program, a model card."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.messages import unknown_name_error
from trainables.detect.calibration import Threshold
from trainables.errors import TrialError
from trainables.forgery.data_card import LICENCES
from trainables.inference import predict
from trainables.inference.filling import CONTEXT
from trainables.inference.scanning import set_size

FORMATS = ("safetensors", "exported")
_CALLS = {
    "inpaint": "`forward(damaged_b3hw, mask_b1hw) -> image_b3hw`: RGB in [0, 1], 0 in the hole; the mask is 1 in the "
    "hole; the output is the whole image, so copy the known pixels over it",
    "detect": "`forward(image_b3hw) -> {logit_b, box_b4, mask_logit_b1hw}`, those that the head predicts: RGB in "
    "[0, 1]; the logits from which on images count as inpainted are below and in `config.json`; boxes are x1 y1 x2 y2 "
    "as shares of the sides, in [0, 1]",
}

_PHOTOGRAPHS = {
    "inpaint": """`model.pt2` takes squares of {side} x {side} px. `sweeps predict` fills a photograph in such squares;
another program has to do this itself. Cut a square of {side} px around the hole; if the hole is wider than half of it,
cut a square {context:g} times as wide as the hole and resize it to {side} x {side} px by means over areas. Mark every
pixel as missing that the hole touches, and set it to 0. Enlarge the output (bicubic) and copy it into the hole. Where a
square leaves the photograph, mirror the photograph. `predict` covers a long, narrow hole with overlapping squares and
weights their outputs by the distance to their edges. With `--resize` it resizes the whole photograph to {side} x
{side} px.""",
    "detect": """`model.pt2` takes squares of {side} x {side} px. `sweeps predict` scans a photograph in such squares;
another program has to do this itself. Cut squares of {own} px at the resolution of the photograph, half a square apart,
and resize each to {side} x {side} px (bilinear, with antialiasing). The score of the photograph is the highest logit of
its squares. Maps are means over the squares that overlap, weighted by the distance to their edges; the box encloses the
largest connected region. With `--resize` it resizes the whole photograph to one square.""",
}
_WINDOWS = (1, 10, 100, 1000)
"""Numbers of windows for which a card states the threshold of a detector."""


@dataclass
class ExportedFiles:
    """An exported network."""

    files: dict[str, bytes] = field(default_factory=dict)
    """The files by name."""
    notes: list[str] = field(default_factory=list)
    """Files that could not be made, and why."""


def check_formats(given: tuple[str, ...]) -> tuple[str, ...]:
    """The names given with `--format`. Raises TrialError for an unknown one."""
    for name in given:
        if name not in FORMATS:
            raise unknown_name_error("--format", name, FORMATS)
    return given


def files(
    trial_id: str,
    task: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    result: Mapping[str, Any],
    formats: tuple[str, ...],
    threshold: Callable[[int], Threshold] | None = None,
) -> ExportedFiles:
    """`model.safetensors`, `model.pt2`, `config.json` and `README.md` of a finished trial. Raises TrialError.

    config: resolved, with epochs and seed. result: as in the store. threshold: of a detector, by number of windows.
    """
    if task not in _CALLS or not weights:
        raise TrialError(
            f"trial {trial_id} of task {task}" + (f": model {config['model']['name']}" if task in _CALLS else ""),
            "it has no weights to export",
            "a trial of task inpaint or detect that trains a network",
            "choose another trial, see `sweeps status`",
        )
    decision = {} if threshold is None else {"decision": [_decision(threshold(count)) for count in _WINDOWS]}
    made = ExportedFiles({"config.json": json.dumps({"task": task, **config, **decision}, indent=1).encode()})
    if "safetensors" in formats:
        from safetensors.torch import save

        whole = {name: tensor.contiguous().clone() for name, tensor in weights.items()}
        about = {"format": "pt", "trial": trial_id, "task": task, "model": str(config["model"]["name"])}
        made.files["model.safetensors"] = save(whole, about)
    if "exported" in formats:
        network = (predict.inpainter if task == "inpaint" else predict.detector)(config, weights)
        side = config["data"]["size" if task == "inpaint" else "input_size"]
        try:
            made.files["model.pt2"] = program(network, task, side)
        except Exception as error:  # torch.export raises errors of many types for code that it does not support
            why = str(error).strip().partition("\n")[0][:200]
            made.notes.append(f"no model.pt2: torch.export does not support {config['model']['name']}: {why}")
    made.files["README.md"] = card(trial_id, task, config, result, made, threshold).encode()
    return made


class _Named(nn.Module):
    """A detector that returns a mapping of tensors, because an exported program cannot return our own class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        output = self.network(image_b3hw)
        tensors = {"logit_b": output.logit_b, "box_b4": output.box_b4, "mask_logit_b1hw": output.mask_logit_b1hw}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def program(network: nn.Module, task: str, side: int) -> bytes:
    """A file for `torch.export.load`; the batch size is dynamic if the network allows it."""
    image_b3hw, mask_b1hw = torch.rand(2, 3, side, side), torch.zeros(2, 1, side, side)
    mask_b1hw[:, :, : side // 2] = 1
    given = (image_b3hw * (1 - mask_b1hw), mask_b1hw) if task == "inpaint" else (image_b3hw,)
    network = network if task == "inpaint" else _Named(network)
    free = tuple({0: torch.export.Dim.AUTO} for _ in given)
    target = io.BytesIO()
    torch.export.save(torch.export.export(network, given, dynamic_shapes=free), target)
    return target.getvalue()


def _decision(threshold: Threshold) -> dict[str, Any]:
    """From which logit and probability on a photograph is inpainted, and how that was chosen."""
    return {"logit": threshold.logit, "probability": threshold.probability, **threshold.origin}


def card(
    trial_id: str,
    task: str,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    made: ExportedFiles,
    threshold: Callable[[int], Threshold] | None = None,
) -> str:
    """The model card."""
    name, data = config["model"]["name"], config["data"]
    side = data["size" if task == "inpaint" else "input_size"]
    history = result["history"]
    scores = [(column, values[-1]) for column, values in history.items() if column.startswith(("val/", "test/"))]
    rows = "\n".join(f"| {column} | {value:.6g} |" for column, value in scores if value is not None)
    versions = result.get("provenance", {}).get("versions", {})
    listed = "\n".join(f"- `{file}`" for file in made.files)
    return f"""# {name}, trial {trial_id}

Task `{task}`, trained by inpaint-sweeps for {config["epochs"]} epochs with seed {config["seed"]}; torch {
        versions.get("torch", "unknown")
    }.

## Files

{listed}
{"".join(f"- {note}" for note in made.notes)}

`model.safetensors` holds the network's state; read it with `safetensors.torch.load_file`. `model.pt2` is a
self-contained program; read it with `torch.export.load("model.pt2").module()`. Images have {side} x {side} px.
{_CALLS[task]}.

## Photographs

{_PHOTOGRAPHS[task].format(side=side, context=CONTEXT, own=data["size"] if task == "inpaint" else set_size(config))}
{"" if threshold is None else _thresholds(threshold)}

## Configuration

```json
{json.dumps({key: value for key, value in config.items() if value is not None}, indent=1)}
```

## Data

{_data(data)}

Fingerprint of the images: `{result.get("facts", {}).get("data_fingerprint", "unknown")}`.

## Scores after the last epoch

These are the scores of one seed; the sweep's report has intervals over seeds.

| score | value |
| --- | --- |
{rows}

## Licences and use

{_licences(config)}

An inpainter can be used to deceive: state where images were filled. A detector makes mistakes on images unlike its
training images, and its output is no evidence against anybody.
"""


def _thresholds(threshold: Callable[[int], Threshold]) -> str:
    """The table of thresholds, and the sentence before it."""
    rate = threshold(1).origin["false_positive_rate"]
    if rate is None:
        return "\nThe trial stored no validation outputs. " + (
            f"The threshold is the probability {threshold(1).probability:.4f} (best F1 on validation, or 0.5)."
        )
    rows = "\n".join(
        f"| {count:,} | {limit.logit:.4f} | {limit.probability:.6f} | {'yes' if limit.origin['extrapolated'] else ''} |"
        for count, limit in ((count, threshold(count)) for count in _WINDOWS)
    )
    return f"""
A photograph counts as inpainted from these values on, at a false positive rate of {rate:.3g} on the
{threshold(1).origin["authentic_validation_images"]:,} validation images that are not inpainted. Windows are taken as
independent. Rates that need more images than there are were extrapolated by an exponential tail.

| windows of the photograph | logit | probability | extrapolated |
| --- | --- | --- | --- |
{rows}"""


def _data(data: Mapping[str, Any]) -> str:
    if data.get("forged") or data.get("set"):
        kind = "forged" if data.get("forged") else "set"
        return f"A set of real and inpainted images: `{json.dumps(data[kind])}`."
    return f"`{data['name']}`{', ' + data['path'] if data.get('path') else ''} at {data['size']} px."


def _licences(config: Mapping[str, Any]) -> str:
    data = config["data"]
    images = data["forged"]["images"] if data.get("forged") else data
    lines = [f"- Training images: {LICENCES.get(images.get('name', ''), LICENCES['folder'])}"]
    pretrained = config["model"].get("weights", "none")
    if pretrained != "none":
        lines.append(
            f"- Training started from the weights `{pretrained}`, and their licence also covers weights derived from"
        )
        lines.append("  them; torchvision's were trained on ImageNet, which is for non-commercial research only.")
    lines.append("- The weights: their licence is the choice of whoever trained them; inpaint-sweeps claims no rights.")
    return "\n".join(lines)
