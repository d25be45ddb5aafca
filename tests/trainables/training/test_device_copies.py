"""A training step copies nothing between the CPU and the device, and reads no value from the device.

The device is torch's `meta`: it has shapes but no values, so a step that reads one fails, and copies to it can be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.trainables.forgery.forged_small import InMemory, configured, small
from tests.trainables.training.test_precision import LOSSES
from trainables import registry, schema
from trainables.inpaint import task as inpaint
from trainables.inpaint.batch import Batch
from trainables.inpaint.methods.diffusion.flow_matching import FlowMatching
from trainables.match import task as match
from trainables.training.session import Machine
from trainables.training.terms import TermTotals

DATA = {"name": "cifar10", "train": 8, "val": 2, "test": 2}
"""Two batches of four images: the second one is observed."""
AUGMENT = {"rotation_deg": 10.0, "zoom": [1.0, 1.2], "blur_sigma": [0.0, 1.0], "flip": 0.5}
CAPTIONS = {"template": "a photo of a {class}"}
TRAINED = [name for name in registry.names("method") if registry.model(name).config.trains]
MASKS = [name for name in registry.names("mask") if name not in ("irregular", "object")]
"""The others render files that were moved to the device like the parameters of these."""


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operations that read a tensor of one device and write one of another."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if len({tensor.device for tensor in tensors if tensor.dim() or tensor.is_meta}) > 1:
            self.found.append(str(func))
        return result


def copies(task: Any, config: dict[str, Any], root: Path) -> list[str]:
    """The copies in the second step of an epoch."""
    machine = Machine("meta", 1, root)
    data = task.load(config, machine)
    learner = task.build(config, data, machine)
    if task is inpaint:  # these checks read values once
        learner.method.checked = learner.filled = True
    totals = TermTotals()
    steps = task.train(learner, config, data, 1)
    totals.add(next(steps)[1])
    with Copies() as seen:  # type: ignore[no-untyped-call]
        totals.add(next(steps)[1])
    return seen.found


def inpainting(**changes: Any) -> dict[str, Any]:
    given = {"data": DATA, "mask": {"name": "lines"}, "model": {"name": "vanilla_autoencoder"}, "batch": 4, **changes}
    return {**schema.resolve("inpaint", given), "seed": 0}


@pytest.fixture(autouse=True)
def without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what `meta` cannot do: random generators on the device, and loading the state that a learner saved."""

    def draw(_: FlowMatching, batch: Batch) -> tuple[Tensor, Tensor]:
        return torch.randn_like(batch.image_b3hw), torch.rand_like(batch.image_b3hw[:, 0, 0, 0])

    monkeypatch.setattr(FlowMatching, "draw", draw)
    monkeypatch.setattr(inpaint, "check_restores", lambda method: None)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_of_a_method_copies_nothing(name: str, data_root: Path) -> None:
    given: dict[str, Any] = {"model": {"name": name, "width": 4}, "loss": LOSSES.get(name, {"l2": 1.0})}
    takes_text = registry.model(name).config.takes_text
    assert (
        copies(inpaint, inpainting(**given, data=DATA | {"captions": CAPTIONS} if takes_text else DATA), data_root)
        == []
    )


@pytest.mark.parametrize("name", MASKS)
def test_masks_and_augmentation_copy_nothing(name: str, data_root: Path) -> None:
    options: dict[str, Any] = {"fraction": 0.25} if name == "centre" else {}
    config = inpainting(mask={"name": name, **options}, data={**DATA, "augment": AUGMENT})
    assert copies(inpaint, config, data_root) == []


def test_a_step_of_a_detector_copies_nothing(data_root: Path) -> None:
    config = configured(data={"augment": {"flip": 0.5, "flip_vertical": 0.5}})
    assert copies(InMemory(small(data_root)), config, data_root) == []


def test_a_step_of_a_matching_network_copies_nothing(data_root: Path) -> None:
    model = {"name": "text_image", "width": 4, "features": 16, "embedding": 8}
    given = {"data": {**DATA, "captions": CAPTIONS, "augment": AUGMENT}, "model": model, "batch": 4}
    assert copies(match, {**schema.resolve("match", given), "seed": 0}, data_root) == []


def test_a_copy_and_a_read_are_noticed() -> None:
    there = torch.zeros(3, device="meta")
    with Copies() as seen:  # type: ignore[no-untyped-call]
        assert there[torch.arange(2).to("meta")].sum() is not None
        with pytest.raises((RuntimeError, NotImplementedError)):
            there.sum().item()
    assert seen.found == ["aten._to_copy.default"]
