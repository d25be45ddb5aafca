"""Builds networks from resolved configurations."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from trainables.config.model_sections import ModelConfig
from trainables.registry import model_config, model_module


def build_network(section: Mapping[str, Any], size: int, root: Path | None = None) -> nn.Module:
    """The network of a resolved `model` section for images of `size` px, with its initial weights.

    root: the data root, which may hold pretrained weights.
    """
    module, options = model_of(section)
    network: nn.Module = module.build(options, size)
    if hasattr(module, "initialise"):
        module.initialise(network, options, root)
    return network


def model_of(section: Mapping[str, Any]) -> tuple[Any, ModelConfig]:
    """The network module of a resolved `model` section, and its options."""
    options = {key: value for key, value in section.items() if key != "name"}
    module = importlib.import_module(model_module(section["name"]))
    return module, model_config(section["name"]).model_validate(options)
