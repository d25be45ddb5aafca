"""A trained network as files for other programs: weights as safetensors, a `torch.export` program, a model card."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.messages import unknown
from trainables.errors import TrialError
from trainables.forgery.data_card import LICENCES
from trainables.inference import predict

FORMATS = ("safetensors", "exported")
_CALLS = {
    "inpaint": "`forward(damaged_b3hw, mask_b1hw) -> image_b3hw`: RGB in [0, 1], 0 in the hole; the mask is 1 in the "
    "hole; the whole image comes back, so known pixels have to be put over it",
    "detect": "`forward(image_b3hw) -> {logit_b, box_b4, mask_logit_b1hw}`, as far as its head gives them: RGB in "
    "[0, 1]; the logit is above 0 where it says inpainted; boxes are x1 y1 x2 y2 in [0, 1] of the sides",
}


@dataclass
class Made:
    """files by name; notes: what could not be made, and why."""

    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_formats(given: tuple[str, ...]) -> tuple[str, ...]:
    for name in given:
        if name not in FORMATS:
            raise unknown("--format", name, FORMATS)
    return given


def files(
    trial_id: str,
    task: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    result: Mapping[str, Any],
    formats: tuple[str, ...],
) -> Made:
    """`model.safetensors`, `model.pt2`, `config.json` and `README.md` of a finished trial. Raises TrialError.

    config: resolved, with epochs and seed. result: as in the store.
    """
    if task not in _CALLS or not weights:
        raise TrialError(
            f"trial {trial_id}: model {config['model']['name']} of task {task}",
            "it has no weights to export",
            "a trial of task inpaint or detect that trains a network",
            "another trial, see sweeps status",
        )
    made = Made({"config.json": json.dumps({"task": task, **config}, indent=1).encode()})
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
        except Exception as error:  # torch.export has errors of many kinds for what it cannot follow
            why = str(error).strip().partition("\n")[0][:200]
            made.notes.append(f"no model.pt2: torch.export cannot follow {config['model']['name']}: {why}")
    made.files["README.md"] = card(trial_id, task, config, result, made).encode()
    return made


class _Named(nn.Module):
    """A detector whose answer is a mapping of what its head gives: a program cannot hold our own classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        found = self.network(image_b3hw)
        said = {"logit_b": found.logit_b, "box_b4": found.box_b4, "mask_logit_b1hw": found.mask_logit_b1hw}
        return {name: tensor for name, tensor in said.items() if tensor is not None}


def program(network: nn.Module, task: str, side: int) -> bytes:
    """What `torch.export.load` reads; the number of images is free where the network leaves it free."""
    image_b3hw, mask_b1hw = torch.rand(2, 3, side, side), torch.zeros(2, 1, side, side)
    mask_b1hw[:, :, : side // 2] = 1
    given = (image_b3hw * (1 - mask_b1hw), mask_b1hw) if task == "inpaint" else (image_b3hw,)
    network = network if task == "inpaint" else _Named(network)
    free = tuple({0: torch.export.Dim.AUTO} for _ in given)
    target = io.BytesIO()
    torch.export.save(torch.export.export(network, given, dynamic_shapes=free), target)
    return target.getvalue()


def card(trial_id: str, task: str, config: Mapping[str, Any], result: Mapping[str, Any], made: Made) -> str:
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

`model.safetensors` holds the network's state: `safetensors.torch.load_file`. `model.pt2` is a program of its own:
`torch.export.load("model.pt2").module()`. Images have {side} x {side} px. {_CALLS[task]}.

## Configuration

```json
{json.dumps({key: value for key, value in config.items() if value is not None}, indent=1)}
```

## Data

{_data(data)}

Fingerprint of the images: `{result.get("facts", {}).get("data_fingerprint", "unknown")}`.

## Scores after the last epoch

One seed alone; for an answer with intervals see the sweep's report.

| score | value |
| --- | --- |
{rows}

## Licences and use

{_licences(config)}

An inpainter can be used to deceive: say where images were filled. A detector errs on what it has not seen, and is no
evidence against anybody.
"""


def _data(data: Mapping[str, Any]) -> str:
    if data.get("forged") or data.get("set"):
        kind = "forged" if data.get("forged") else "set"
        return f"A set of real and inpainted images: `{json.dumps(data[kind])}`."
    return f"`{data['name']}`{', ' + data['path'] if data.get('path') else ''} at {data['size']} px."


def _licences(config: Mapping[str, Any]) -> str:
    data = config["data"]
    images = data["forged"]["images"] if data.get("forged") else data
    lines = [f"- Images that it was trained on: {LICENCES.get(images.get('name', ''), LICENCES['folder'])}"]
    pretrained = config["model"].get("weights", "none")
    if pretrained != "none":
        lines.append(
            f"- It began with the weights `{pretrained}`, whose terms hold for what was made of them; those of"
        )
        lines.append("  torchvision were trained on ImageNet, which is for research that is not commercial.")
    lines.append("- The weights: whoever trained them decides; this program (Apache-2.0) claims nothing.")
    return "\n".join(lines)
