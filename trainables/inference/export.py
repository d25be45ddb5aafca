"""A trained network as files for other programs: weights, a `torch.export` or ONNX program, a model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainables.config.messages import unknown_name_error
from trainables.detect.calibration import Threshold
from trainables.errors import TrialError
from trainables.forgery.data_card import LICENCES
from trainables.inference import predict, programs
from trainables.inference.filling import CONTEXT
from trainables.inference.scanning import set_size
from trainables.match.text_encoder import Vocabulary

FORMATS = ("safetensors", "exported", "onnx")
_CALLS = {
    "inpaint": "`forward(damaged_b3hw, mask_b1hw) -> image_b3hw`: RGB in [0, 1], 0 in the hole; the mask is 1 in the "
    "hole; the output is the whole image, so copy the known pixels over it{text}",
    "detect": "`forward(image_b3hw) -> {{logit_b, box_b4, mask_logit_b1hw}}`, those that the head predicts: RGB in "
    "[0, 1]; the logits from which on images count as inpainted are below and in `config.json`; boxes are x1 y1 x2 y2 "
    "as shares of the sides, in [0, 1]",
}

_PHOTOGRAPHS = {
    "inpaint": """A program takes squares of {side} x {side} px. `sweeps predict` fills a photograph in such squares;
another program has to do this itself. Cut a square of {side} px around the hole; if the hole is wider than half of it,
cut a square {context:g} times as wide as the hole and resize it to {side} x {side} px by means over areas. Mark every
pixel as missing that the hole touches, and set it to 0. Enlarge the output (bicubic) and copy it into the hole. Where a
square leaves the photograph, mirror the photograph. `predict` covers a long, narrow hole with overlapping squares and
weights their outputs by the distance to their edges. With `--resize` it resizes the whole photograph to {side} x
{side} px.""",
    "detect": """A program takes squares of {side} x {side} px. `sweeps predict` scans a photograph in such squares;
another program has to do this itself. Cut squares of {own} px at the resolution of the photograph, half a square apart,
and resize each to {side} x {side} px (bilinear, with antialiasing). The score of the photograph is the highest logit of
its squares. Maps are means over the squares that overlap, weighted by the distance to their edges; the box encloses the
largest connected region. With `--resize` it resizes the whole photograph to one square.""",
}
_TEXT = """; `tokens_bt` are those of a caption for each image, int32, from `tokenizer.py` with `vocabulary.txt`; zeros
for an image without a caption"""
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
    """`model.safetensors`, `model.pt2` or `model.onnx`, `config.json` and `README.md` of a finished trial.

    Raises TrialError for a trial without weights, and for a format that the network does not support if no other file
    of the network could be made.

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
    if {"exported", "onnx"} & set(formats):
        network = (predict.inpainter if task == "inpaint" else predict.detector)(config, weights)
        if "onnx" in formats:
            made.files["model.onnx"] = programs.onnx_program(network, config, task)
        if "exported" in formats:
            _add_torch_program(made, network, config, task)
        if programs.takes_text(config, task):
            packed = next(tensor for name, tensor in weights.items() if name.rpartition(".")[2] == "packed")
            made.files |= programs.text_files(Vocabulary.unpacked(packed))
    made.files["README.md"] = card(trial_id, task, config, result, made, threshold).encode()
    return made


def _add_torch_program(made: ExportedFiles, network: Any, config: Mapping[str, Any], task: str) -> None:
    try:
        exported = programs.torch_program(network, config, task)
    except Exception as error:  # torch.export raises errors of many types for code that it does not support
        why = f"torch.export does not support {config['model']['name']}: {programs.first_line(error)}"
        if not any(name.startswith("model.") for name in made.files):
            raise TrialError(
                "--format exported", why, "a network that torch.export can trace", "--format safetensors, the weights"
            ) from error
        made.notes.append(f"no model.pt2: {why}")
        return
    made.files["model.pt2"] = exported.content
    if not exported.any_batch:
        made.notes.append("model.pt2 takes one image at a time, because the network's code depends on their number")


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

{_read_with(made)} Images have {side} x {side} px. Programs need
torch or onnxruntime, not inpaint-sweeps.
{_CALLS[task].format(text=_TEXT if programs.takes_text(config, task) else "")}.

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


def _read_with(made: ExportedFiles) -> str:
    """How to read the files of the network."""
    of_file = {
        "model.safetensors": "`model.safetensors` holds the network's state; read it with "
        "`safetensors.torch.load_file`.",
        "model.pt2": '`model.pt2` is a self-contained program; read it with `torch.export.load("model.pt2").module()`.',
        "model.onnx": '`model.onnx` is an ONNX model; read it with `onnxruntime.InferenceSession("model.onnx")`.',
    }
    return "\n".join(words for name, words in of_file.items() if name in made.files)


def _thresholds(threshold: Callable[[int], Threshold]) -> str:
    """The table of thresholds, and the sentence before it."""
    first = threshold(1).origin
    if first["false_positive_rate"] is None:
        return f"\nThe threshold is {first['statement']}: the probability {threshold(1).probability:.4f}."
    rows = "\n".join(
        f"| {count:,} | {limit.logit:.4f} | {limit.probability:.6f} | {limit.origin['statement']} |"
        for count, limit in ((count, threshold(count)) for count in _WINDOWS)
    )
    return f"""
A photograph counts as inpainted from these values on. `sweeps predict --authentic DIR` takes the threshold from
authentic photographs instead, which is better for photographs of another origin than the validation images.

| windows of the photograph | logit | probability | what it rests on |
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
