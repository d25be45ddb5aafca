"""Exported networks: the same numbers in a plain Python without this package, and clear errors for the others."""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.inference.test_predict import INPAINT, RESULT, detector, inpainter
from trainables import schema
from trainables.detect import calibration
from trainables.errors import TrialError
from trainables.inference import export, predict, programs
from trainables.match.text_encoder import Vocabulary
from trainables.training.networks import build_network

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("task", ["inpaint", "detect"])
def test_an_exported_network_gives_the_same_numbers(task: str) -> None:
    from safetensors.torch import load

    config, weights = inpainter() if task == "inpaint" else detector(head="box")
    logits = np.linspace(-4, 2, 200)
    threshold = (lambda windows: calibration.at_rate(logits, 0.05, windows)) if task == "detect" else None
    made = export.files("4f0c", task, config, weights, RESULT, ("safetensors", "exported"), threshold)
    assert set(made.files) == {"model.safetensors", "model.pt2", "config.json", "README.md"}
    assert made.notes == []
    stored = load(made.files["model.safetensors"])
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], weights[name]) for name in weights)
    program = torch.export.load(io.BytesIO(made.files["model.pt2"])).module()
    for count in (1, 5):
        program(*programs.example_inputs(config, task, count).values())
    image = torch.rand(3, 3, 32 if task == "inpaint" else 64, 32 if task == "inpaint" else 64)
    given = (image, image[:, :1].round()) if task == "inpaint" else (image,)
    network = predict.inpainter(config, weights) if task == "inpaint" else predict.detector(config, weights)
    with torch.inference_mode():
        one, other = network(*given), program(*given)
    if task == "detect":
        assert other.keys() == {"logit_b", "box_b4"}
        one, other = one.box_b4, other["box_b4"]
    assert torch.allclose(one, other, atol=1e-5)
    card = made.files["README.md"].decode()
    for words in (
        "trial 4f0c",
        "CIFAR",
        "| val/psnr_db | 20.5 |",
        "Licences",
        "## Photographs",
        config["model"]["name"],
    ):
        assert words in card, words
    decision = json.loads(made.files["config.json"]).get("decision", [])
    assert [one["windows"] for one in decision] == ([1, 10, 100, 1000] if task == "detect" else [])
    for one in decision:
        assert f"| {one['windows']:,} | {one['logit']:.4f} | {one['probability']:.6f} | {one['statement']} |" in card
    assert not decision or "support a false positive rate of 83.3 % for 1,000 windows" in decision[-1]["statement"]


PLAIN = """\
import json, sys
import torch
assert "trainables" not in sys.modules and "sweeps" not in sys.modules
sys.path = [path for path in sys.path if path != {checkout!r}]
folder = {folder!r}
program = torch.export.load(folder + "/model.pt2").module()
given = torch.load(folder + "/given.pt", weights_only=True)
if {text!r}:
    sys.path.insert(0, folder)
    from tokenizer import tokens
    given["tokens_bt"] = torch.tensor([tokens(caption) for caption in {text!r}], dtype=torch.int32)
found = program(*given.values())
torch.save(dict(found) if isinstance(found, dict) else {{"image_b3hw": found}}, folder + "/found.pt")
assert not any(name.partition(".")[0] in ("trainables", "sweeps", "cluster", "analysis") for name in sys.modules)
"""


def in_plain_python(folder: Path, files: dict[str, bytes], given: dict[str, torch.Tensor], text: list[str]) -> Any:
    """The outputs of an exported program in a Python that does not find this package."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    torch.save(given, folder / "given.pt")
    code = PLAIN.format(folder=str(folder), checkout=str(ROOT), text=text)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "found.pt", weights_only=True)


def test_an_exported_program_runs_in_a_plain_python(tmp_path: Path) -> None:
    config, weights = inpainter()
    made = export.files("4f0c", "inpaint", config, weights, RESULT, ("exported",))
    given = programs.example_inputs(config, "inpaint", 4)
    found = in_plain_python(tmp_path, made.files, given, [])
    network = predict.inpainter(config, weights)
    with torch.inference_mode():
        assert torch.allclose(found["image_b3hw"], network(*given.values()), atol=1e-6)


def test_the_tokenizer_of_an_export_gives_the_tokens_of_the_network(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["bird", "château", "red", "a"])
    for name, content in programs.text_files(vocabulary).items():
        (tmp_path / name).write_bytes(content)
    tokenizer = runpy.run_path(str(tmp_path / "tokenizer.py"))
    text = ["A red château, it says", "", "bird " * 200]
    expected = vocabulary.tokens(text)
    assert torch.equal(torch.tensor([tokenizer["tokens"](caption) for caption in text], dtype=torch.int32), expected)


@pytest.mark.slow  # torch.export traces TDANet for 20 s of CPU
def test_tdanet_is_exported_with_tokens_and_a_tokenizer(tmp_path: Path) -> None:
    model = {"name": "tdanet", "width": 4}
    captions = {"template": "a photo of a {class}"}
    data = {"name": "cifar10", "captions": captions}
    config = {**schema.resolve("inpaint", {**INPAINT, "data": data, "model": model}), "seed": 0}
    network = build_network(config["model"], 32)
    network.set_vocabulary(Vocabulary(["bird", "château", "red", "a"]))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = export.files("4f0c", "inpaint", config, weights, RESULT, ("exported",))
    assert set(made.files) == {"model.pt2", "vocabulary.txt", "tokenizer.py", "config.json", "README.md"}
    text = ["A red château, it says", "", "bird " * 200]
    given = programs.example_inputs(config, "inpaint", 3)
    del given["tokens_bt"]
    found = in_plain_python(tmp_path, made.files, given, text)
    network.eval()
    with torch.inference_mode():
        expected = network(*given.values(), network.tokens(text))
        assert not torch.allclose(expected, network(*given.values()), atol=1e-4), "the captions matter"
    assert torch.allclose(found["image_b3hw"], expected, atol=1e-5)
    assert "tokenizer.py" in made.files["README.md"].decode()


def test_onnx_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = inpainter()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(TrialError) as caught:
        export.files("4f0c", "inpaint", config, weights, RESULT, ("onnx",))
    assert "onnx is not installed" in caught.value.why
    assert "the extra `onnx`" in caught.value.allowed
    assert "pip install onnx onnxscript onnxruntime" in caught.value.fix


def test_the_extra_installs_them_and_the_lock_has_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {line.partition(">")[0] for line in project["optional-dependencies"]["onnx"]}
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert extra == set(programs.ONNX_PACKAGES) <= locked


def test_a_network_that_onnx_cannot_express_is_refused() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    class Branching(torch.nn.Module):
        def forward(self, damaged_b3hw: torch.Tensor, mask_b1hw: torch.Tensor) -> torch.Tensor:
            return damaged_b3hw if float(mask_b1hw.sum()) > 0 else damaged_b3hw + mask_b1hw

    with pytest.raises(TrialError, match=r"torch\.onnx cannot convert it") as caught:
        programs.onnx_program(Branching(), inpainter()[0], "inpaint")
    assert "--format onnx with model.name" in caught.value.given
    assert "--format exported" in caught.value.fix


@pytest.mark.slow  # torch.onnx converts a network for several seconds
@pytest.mark.parametrize("task", ["inpaint", "detect"])
def test_an_onnx_model_gives_the_same_numbers_in_onnxruntime(task: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config, weights = inpainter() if task == "inpaint" else detector(head="mask")
    made = export.files("4f0c", task, config, weights, RESULT, ("onnx",))
    session = runtime.InferenceSession(made.files["model.onnx"], providers=["CPUExecutionProvider"])
    given = programs.example_inputs(config, task, 5)
    network = predict.inpainter(config, weights) if task == "inpaint" else predict.detector(config, weights)
    with torch.inference_mode():
        expected = network(*given.values())
    name = "image_b3hw" if task == "inpaint" else "mask_logit_b1hw"
    expected = expected if task == "inpaint" else expected.mask_logit_b1hw
    [found] = session.run([name], {key: tensor.numpy() for key, tensor in given.items()})
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)
    assert "onnxruntime.InferenceSession" in made.files["README.md"].decode()


def test_what_cannot_be_exported_is_an_error_or_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = inpainter()

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("it branches on data\nin 40 lines")

    monkeypatch.setattr(torch.export, "export", fails)
    with pytest.raises(TrialError, match="it branches on data"):
        export.files("4f0c", "inpaint", config, weights, RESULT, ("exported",))
    made = export.files("4f0c", "inpaint", config, weights, RESULT, ("safetensors", "exported"))
    assert "model.pt2" not in made.files
    assert "it branches on data" in made.notes[0]
    assert "torch.export.load" not in made.files["README.md"].decode()


def test_a_network_that_counts_its_images_is_exported_for_one() -> None:
    class Counting(torch.nn.Module):
        def forward(self, damaged_b3hw: torch.Tensor, mask_b1hw: torch.Tensor) -> torch.Tensor:
            return damaged_b3hw * len(damaged_b3hw) + mask_b1hw

    config, _ = inpainter()
    exported = programs.torch_program(Counting().eval(), config, "inpaint")
    assert not exported.any_batch
    program = torch.export.load(io.BytesIO(exported.content)).module()
    given = tuple(programs.example_inputs(config, "inpaint", 1).values())
    assert torch.equal(program(*given), Counting()(*given))


def test_formats_and_models_without_weights() -> None:
    with pytest.raises(TrialError, match="no such"):
        export.check_formats(("torchscript",))
    config = schema.resolve("inpaint", {**INPAINT, "model": {"name": "mean_fill"}})
    with pytest.raises(TrialError, match="no weights"):
        export.files("4f0c", "inpaint", config, {}, RESULT, export.FORMATS)
