"""The optimisers compute what torch's do, without importing torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from trainables.training import optimisers

ADAM = {"name": "adam", "lr": 1e-2, "betas": [0.5, 0.99], "weight_decay": 0.01}
SGD = {"name": "sgd", "lr": 1e-2, "momentum": 0.9, "weight_decay": 0.01}
STEPS = """
import sys, torch
from trainables.training import optimisers
network = torch.nn.Linear(3, 2)
for section in ({"name": "adam", "lr": 0.1, "betas": [0.9, 0.999], "weight_decay": 0.0},
                {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}):
    optimiser = optimisers.build(section, network.parameters())
    optimiser.zero_grad(set_to_none=True)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


@pytest.mark.parametrize("section", [ADAM, SGD], ids=["adam", "sgd"])
def test_it_computes_what_the_optimiser_of_torch_does(section: dict[str, Any]) -> None:
    ours, theirs = _network(), _network()
    optimiser = optimisers.build(section, ours.parameters())
    options = {key: value for key, value in section.items() if key != "name"}
    reference = (torch.optim.Adam if section["name"] == "adam" else torch.optim.SGD)(theirs.parameters(), **options)
    for step in range(6):
        if step == 3:  # a resumed run goes on with the stored state
            state = optimiser.state_dict()
            optimiser = optimisers.build(section, ours.parameters())
            optimiser.load_state_dict(state)
        for network, one in ((ours, optimiser), (theirs, reference)):
            one.zero_grad(set_to_none=True)
            network(torch.linspace(-1, 1, 12).view(4, 3) + step).square().mean().backward()
            one.step()
    for mine, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, right)
        assert mine.requires_grad
    assert optimiser.state_dict().keys() == reference.state_dict().keys()


@pytest.mark.parametrize("section", [ADAM, SGD], ids=["adam", "sgd"])
def test_a_state_of_another_device_keeps_how_this_device_steps(section: dict[str, Any]) -> None:
    """On a GPU the steps are fused, and the state says so."""
    network = _network()
    optimiser = optimisers.build(section, network.parameters())
    assert all(group["fused"] is None for group in optimiser.param_groups)
    state = optimiser.state_dict()
    for group in state["param_groups"]:
        group["fused"] = True
    optimiser.load_state_dict(state)
    assert all(group["fused"] is None for group in optimiser.param_groups)
    assert all(group["fused"] for group in state["param_groups"]), "the given state is not changed"


def test_training_does_not_import_the_compiler() -> None:
    """The import of `torch._dynamo`, which needs sympy, takes over a second and 150 MB in every process that trains."""
    ended = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
