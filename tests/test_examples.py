"""The examples of code of one's own: they run as they are, and the documentation shows them."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from trainables import registry, schema
from trainables.errors import TrialError
from trainables.inpaint.batch import Batch
from trainables.inpaint.task import build_method
from trainables.training.networks import build_network
from trainables.training.session import Machine

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as a user has one, and an empty cache of code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_sweep_runs(examples: Path, tmp_path: Path, data_root: Path) -> None:
    store = FolderStore(tmp_path / "store")
    arguments = [str(examples / "my_sweep.yaml"), "--tiny", "--store", store.uri, "--data", str(data_root)]
    assert main(["run", *arguments]) == common.DONE
    arms = {arm["name"]: arm for arm in stored_plans.require_plan(store, "my-sweep-tiny")["arms"]}
    assert {name for name, arm in arms.items() if not arm["trains"]} == {"pipeline", "onion peel", "Telea", "mean fill"}
    assert len([key for key in store.keys("trials/") if "/result/" in key]) == len(arms)
    history = {name: result_of(store, arms[name]) for name in ("base", "with my loss")}
    assert "train/my_loss" in history["with my loss"]
    assert history["base"]["train/l2_hole"] != history["with my loss"]["train/l2_hole"]


def result_of(store: FolderStore, arm: dict[str, Any]) -> dict[str, Any]:
    trial = arm["trials"]["0"]
    history: dict[str, Any] = json.loads(store.get(layout.result_key(trial["id"], trial["epochs"])))["history"]
    return history


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("(prediction - target).abs()", r"(?s)term \(own\.py:1\).*returned a tensor \(8, 3, 8, 8\)"),
        ("3.0", "returned float"),
        ("(1, 2, 3)", "returned tuple"),
    ],
)
def test_a_loss_term_that_is_no_number_is_refused(examples: Path, body: str, says: str) -> None:
    (examples / "own.py").write_text(f"def term(prediction, target): return {body}\n")
    config = schema.resolve(
        "inpaint",
        {
            "data": {"name": "cifar10", "size": 8},
            "mask": {"name": "lines"},
            "model": {"name": "./residual_network.py", "width": 4},
            "loss": {"./own.py": 1.0},
        },
        examples,
    )
    network = build_network(config["model"], 8)
    method, _ = build_method({**config, "seed": 0}, network, 8, Machine())
    with pytest.raises(TrialError, match=says):
        method.training_step(Batch.of(torch.rand(8, 3, 8, 8), torch.ones(8, 1, 8, 8)))


def test_a_torchscript_file_fills_holes(examples: Path) -> None:
    class Grey(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * (1 - mask) + 0.25 * mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch plans to remove TorchScript
        torch.jit.script(Grey()).save(examples / "lama.pt")
    config = schema.resolve(
        "inpaint",
        {
            "data": {"name": "cifar10"},
            "mask": {"name": "lines"},
            "model": {"name": "./torchscript_lama.py:lama", "file": "lama.pt"},
        },
        examples,
    )
    code = registry.model(config["model"]["name"])
    network = code.load().build(code.options(config["model"]), 20)
    image, mask = torch.rand(2, 3, 20, 20), torch.zeros(2, 1, 20, 20)
    mask[:, :, 3:9, 3:9] = 1
    (examples / "lama.pt").unlink()  # the copy that was planned is used
    assert torch.allclose(network(image, mask), torch.where(mask > 0, torch.tensor(0.25), image))


def test_the_documentation_shows_the_files() -> None:
    page = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
    shown = re.findall(r'^```python title="examples/(\w+\.py)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    for name, text in shown:
        assert text.strip() == (EXAMPLES / name).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_an_example_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) < (81 if file.name == "diffusion_method.py" else 31)
