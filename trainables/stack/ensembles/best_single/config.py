"""Options of the best single detector; it has none."""

from __future__ import annotations

from typing import ClassVar

from trainables.config.model_sections import StackConfig


class Config(StackConfig):
    """No options."""

    inputs: ClassVar[tuple[str, ...]] = ("logits",)
