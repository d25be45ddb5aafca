"""bfloat16 and memory layout: training as in float32, and the values that stay in float32."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainables.inpaint.stepping import discriminators_of
from trainables import registry, schema
from trainables.errors import TrialError
from trainables.inpaint import dataset as inpaint_dataset
from trainables.inpaint import setup as inpaint_setup
from trainables.inpaint import task as inpaint
from trainables.inpaint.batch import Batch
from trainables.training import compiled
from trainables.training.precision import Precision, as_given, full
from trainables.training.session import Machine

STEPS = 50
LOSSES: dict[str, dict[str, float]] = {
    "context_encoder": {"l2": 0.999, "adversarial": 0.001},
    "context_encoder_alexnet": {"l2": 0.999, "adversarial": 0.001},
    "deepfill": {"l1": 1.0, "l1_coarse": 1.0, "adversarial": 0.1},
    "glcic": {"l2_hole": 0.995, "adversarial_global": 0.0025, "adversarial_local": 0.0025},
    "lama_fourier": {"valid": 10.0, "adversarial": 10.0, "feature_matching": 100.0, "r1": 0.001},
}
TRAINED = [name for name in registry.names("method") if registry.model(name).config.trains]


def learner(
    name: str, root: Path, **changes: Any
) -> tuple[inpaint.InpaintLearner, inpaint.InpaintDataset, dict[str, Any]]:
    asked = {
        "data": {"name": "cifar10", "train": 8 * STEPS, "val": 8, "test": 8},
        "mask": {"name": "centre", "fraction": 0.2},
        "model": {"name": name, "width": 4},
        "loss": LOSSES.get(name, {"l2": 1.0}),
        "optimiser": {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]},
        "batch": 8,
        **changes,
    }
    config = {**schema.resolve("inpaint", asked), "seed": 0}
    data = inpaint.load(config, Machine(data_root=root))
    return inpaint.build(config, data, Machine()), data, config


def losses(name: str, root: Path, steps: int = STEPS, **changes: Any) -> Tensor:
    """(steps, terms): the loss of the network and of its discriminators in each of the first steps."""
    found, data, config = learner(name, root, **changes)
    rows = [terms for _, terms in itertools.islice(inpaint.train(found, config, data, 1), steps)]
    assert len(rows) == steps
    names = ["loss", *(term for term in rows[0] if term.startswith("discriminator") and term.endswith("_loss"))]
    return torch.stack([torch.stack([row[term][0] / row[term][1] for term in names]) for row in rows])


@pytest.mark.parametrize("name", ["context_encoder", *(pytest.param(n, marks=pytest.mark.slow) for n in TRAINED)])
def test_bfloat16_learns_the_same_within_two_percent(name: str, data_root: Path) -> None:
    exact, rounded = (losses(name, data_root, **kind)[-10:].mean(0) for kind in ({}, {"precision": "bf16"}))
    print(name, exact.tolist(), rounded.tolist(), ((rounded - exact) / exact).abs().tolist())
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_the_memory_layout_changes_rounding_alone(name: str, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first steps are compared: rounding differences grow, at first tenfold per step for TDANet."""
    last = losses(name, data_root, steps=4)
    for module in (inpaint_setup, inpaint_dataset):
        monkeypatch.setattr(module, "LAYOUT", torch.contiguous_format)
    first = losses(name, data_root, steps=4)
    torch.testing.assert_close(first, last, rtol=5e-3, atol=0)


def test_weights_terms_and_outputs_stay_in_float32(data_root: Path) -> None:
    found, data, config = learner("deepfill", data_root, precision="bf16")
    image, mask = data.batch("train", torch.arange(8), inpaint.epoch_masks(config, data, 1))
    seen = set()
    method, discriminators = found.method, discriminators_of(found)
    for module in (*method.network.modules(), *discriminators.networks["adversarial"].modules()):
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    batch = Batch.of(image, mask)
    prediction = method.predict(batch)
    terms = {**method.losses(prediction, batch), **discriminators.terms(prediction.image_b3hw, batch)}
    terms |= discriminators.step(prediction.image_b3hw, batch)
    assert seen == {torch.bfloat16}
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert terms.keys() >= {"l1", "l1_coarse", "adversarial", "discriminator_loss"}
    method.training_step(batch)
    assert method.fill(image, mask).dtype == torch.float32
    states = [found.state_dict()["network"], discriminators.state_dict()["discriminators"]["adversarial"]]
    assert {value.dtype for state in states for value in state.values()} == {torch.float32}


def test_casting() -> None:
    a = torch.rand(4, 4)
    with Precision().cast():
        assert (a @ a).dtype == torch.float32
    with Precision("bf16").cast():
        assert (a @ a).dtype == torch.bfloat16
        with as_given(a.device):
            assert (a @ a).dtype == torch.float32
    assert full(a.bfloat16()).dtype == torch.float32
    assert full(a.double()).dtype == torch.float64
    with as_given(torch.device("meta")):
        pass


# --- torch.compile ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, compiled.COMPILERS)), reason="needs a C++ compiler")
def test_a_compiled_network_learns_the_same_and_saves_the_same_state(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes a minute on an idle machine."""
    monkeypatch.setenv(compiled.CACHE, "set again")  # restored after the test
    plain, fast = (losses("vanilla_autoencoder", data_root, steps=4, **kind) for kind in ({}, {"compile": True}))
    torch.testing.assert_close(fast, plain, rtol=1e-3, atol=0)
    if compiled._GIVEN is None:
        assert list(compiled._cache_folder(Machine().scratch).rglob("*.so")), "in a cache of this process"
    states = (learner("vanilla_autoencoder", data_root, **kind)[0].state_dict() for kind in ({}, {"compile": True}))
    assert len({tuple(state["network"]) for state in states}) == 1


def test_a_machine_without_a_compiler_cannot_compile(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TrialError, match="needs a C\\+\\+ compiler") as caught:
        learner("vanilla_autoencoder", data_root, compile=True)
    assert caught.value.key == "compile"
    given = {"data": {"name": "cifar10"}, "mask": {"name": "lines"}, "model": {"name": "deepfill"}, "compile": True}
    config = {**schema.resolve("inpaint", {**given, "loss": LOSSES["deepfill"]}), "seed": 0}
    assert (compiled.check_compiler, True) in inpaint.checks(config)
