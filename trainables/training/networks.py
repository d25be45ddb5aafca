"""Builds networks from resolved configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainables import registry
from trainables.config.code_checks import check_network


def build_network(section: Mapping[str, Any], size: int) -> nn.Module:
    """The network of a resolved `model` section for images of `size` px, with random initial weights."""
    code = registry.model(section["name"])
    module = code.load()
    check_network(module, code.name)
    network: nn.Module = module.build(code.options(section), size)
    return network
