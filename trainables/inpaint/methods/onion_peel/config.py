"""Options of the fill from the border inwards; it has none."""

from __future__ import annotations

from typing import ClassVar

from trainables.config.model_sections import ModelConfig


class Config(ModelConfig):
    """No options."""

    trains: ClassVar[bool] = False
