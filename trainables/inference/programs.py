"""A network as a program that runs without this package: `torch.export` (model.pt2) or ONNX (model.onnx).

Legend: b images, side x side px; t = WORDS tokens of a caption, padded.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables import registry
from trainables.errors import TrialError
from trainables.match.text_encoder import WORDS, Vocabulary

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX_TOLERANCE = 1e-3
"""Largest difference between the outputs of onnxruntime and of the network, relative to the largest output."""
TOKENIZER = '''"""Tokens of captions for the program of this folder: plain Python, without any package.

    tokens("A bird on a branch")  # {words} integers: torch.tensor([tokens(caption)], dtype=torch.int32)
"""

import re
from pathlib import Path

WORDS = {words}  # tokens of a caption; further words are ignored
PADDING, UNKNOWN = 0, 1
VOCABULARY = Path(__file__).with_name("vocabulary.txt").read_text(encoding="utf-8").split()
TOKEN_OF = {{word: token for token, word in enumerate(VOCABULARY, 2)}}


def tokens(caption):
    found = [TOKEN_OF.get(word.lower(), UNKNOWN) for word in re.findall(r"\\w+", caption)[:WORDS]]
    return found + [PADDING] * (WORDS - len(found))
'''
"""The text of `tokenizer.py`; see `trainables.match.text_encoder`."""


@dataclass(frozen=True)
class ExportedProgram:
    """A program, and whether it takes any number of images."""

    content: bytes
    any_batch: bool


class _Named(nn.Module):
    """A detector that returns a mapping of tensors, because an exported program cannot return our own class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_b3hw: Tensor) -> dict[str, Tensor]:
        output = self.network(image_b3hw)
        tensors = {"logit_b": output.logit_b, "box_b4": output.box_b4, "mask_logit_b1hw": output.mask_logit_b1hw}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def torch_program(network: nn.Module, config: Mapping[str, Any], task: str) -> ExportedProgram:
    """A file for `torch.export.load`, for any number of images if the network allows it, otherwise for one.

    Raises errors of many types for code that `torch.export` does not support.
    """
    module = network if task == "inpaint" else _Named(network)
    try:
        inputs = tuple(example_inputs(config, task, 2).values())
        free = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
        return ExportedProgram(_traced(module, inputs, free), True)
    except Exception:  # the code of the network decides by the number of images
        inputs = tuple(example_inputs(config, task, 1).values())
        return ExportedProgram(_traced(module, inputs), False)


def _traced(module: nn.Module, inputs: tuple[Tensor, ...], free: Any = None) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were assigned during export")  # torch's own attributes of an LSTM
        torch.export.save(torch.export.export(module, inputs, dynamic_shapes=free), target)
    return target.getvalue()


def onnx_program(network: nn.Module, config: Mapping[str, Any], task: str) -> bytes:
    """An ONNX model for any number of images, compared with the network in onnxruntime.

    Raises TrialError if a package is missing, if the network cannot be converted, or if the outputs differ.
    """
    _check_packages()
    module = (network if task == "inpaint" else _Named(network)).eval()
    inputs = example_inputs(config, task, 2)
    with torch.inference_mode():
        expected = _outputs(module(*inputs.values()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converter, on functions of torch that change
            made = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),
                input_names=list(inputs),
                output_names=list(expected),
                external_data=False,
                verbose=False,
            )
        assert made is not None
        content: bytes = made.model_proto.SerializeToString()
    except Exception as error:
        cause = error.__cause__ or error
        raise _onnx_error(config, f"torch.onnx cannot convert it: {first_line(cause)}") from error
    _compare(content, module, config, task)
    return content


def _compare(content: bytes, module: nn.Module, config: Mapping[str, Any], task: str) -> None:
    """Raise TrialError unless onnxruntime gives the network's outputs, for one image and for three."""
    runtime = importlib.import_module("onnxruntime")
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _onnx_error(config, f"onnxruntime cannot load it: {first_line(error)}") from error
    for count in (1, 3):
        inputs = example_inputs(config, task, count)
        with torch.inference_mode():
            expected = _outputs(module(*inputs.values()))
        try:
            found = session.run(list(expected), {name: tensor.numpy() for name, tensor in inputs.items()})
        except Exception as error:
            raise _onnx_error(config, f"onnxruntime cannot run it: {first_line(error)}") from error
        for name, values in zip(expected, found, strict=True):
            largest = float(expected[name].abs().max())
            difference = float((torch.from_numpy(values) - expected[name]).abs().max())
            if not difference <= ONNX_TOLERANCE * max(1.0, largest):
                why = f"in onnxruntime, its output {name} differs by {difference:.3g} from the network's"
                raise _onnx_error(config, f"{why} (largest value {largest:.3g})")


def _check_packages() -> None:
    for name in ONNX_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise TrialError(
                "--format onnx",
                f"the package {name} is not installed",
                f"an installation with the extra `onnx`: {', '.join(ONNX_PACKAGES)}",
                f"pip install {' '.join(ONNX_PACKAGES)}, or --format exported",
            ) from error


def _onnx_error(config: Mapping[str, Any], why: str) -> TrialError:
    return TrialError(
        f"--format onnx with model.name: {config['model']['name']}",
        why,
        "a network that torch.onnx converts to the same numbers",
        "--format exported, a program for torch, or --format safetensors, the weights",
    )


def _outputs(found: Any) -> dict[str, Tensor]:
    return dict(found) if isinstance(found, Mapping) else {"image_b3hw": found}


def example_inputs(config: Mapping[str, Any], task: str, count: int) -> dict[str, Tensor]:
    """Inputs of a program by name, for `count` images."""
    side = config["data"]["size" if task == "inpaint" else "input_size"]
    generator = torch.Generator().manual_seed(count)
    image_b3hw = torch.rand(count, 3, side, side, generator=generator)
    if task == "detect":
        return {"image_b3hw": image_b3hw}
    mask_b1hw = torch.zeros(count, 1, side, side)
    mask_b1hw[:, :, side // 4 : side // 2, side // 4 : 3 * side // 4] = 1  # in the centre, which every network fills
    inputs = {"damaged_b3hw": image_b3hw * (1 - mask_b1hw), "mask_b1hw": mask_b1hw}
    if takes_text(config, task):
        inputs["tokens_bt"] = torch.randint(0, 2, (count, WORDS), generator=generator).sort(1, descending=True)[0].int()
    return inputs


def takes_text(config: Mapping[str, Any], task: str) -> bool:
    """Whether the program takes the tokens of captions."""
    return task == "inpaint" and registry.model(config["model"]["name"]).config.takes_text


def text_files(vocabulary: Vocabulary) -> dict[str, bytes]:
    """`vocabulary.txt`, one word a line, and `tokenizer.py`, of a network that takes captions."""
    words = "".join(f"{word}\n" for word in vocabulary.words)
    return {"vocabulary.txt": words.encode(), "tokenizer.py": TOKENIZER.format(words=WORDS).encode()}


def first_line(error: BaseException) -> str:
    """The first line of an error, for a sentence."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
