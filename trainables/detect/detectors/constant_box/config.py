"""Options of the constant box; it has none."""

from __future__ import annotations

from typing import ClassVar

from trainables.config.model_sections import DetectorConfig


class Config(DetectorConfig):
    """No options."""

    trains: ClassVar[bool] = False
