"""How published sets of manipulated images name and place their files, one module for each layout.

A module has one function `images(path, authentic)`, which lists the images below a folder with their classes, masks and
source photographs, without opening images. Its docstring says where the layout was found. The name of a layout is the
name of its module.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__"))
"""The layouts."""


def images_of(layout: str) -> Callable[[Path, Path | None], Any]:
    """The function `images` of a layout, by its name."""
    listing: Callable[[Path, Path | None], Any] = importlib.import_module(f"{__name__}.{layout}").images
    return listing
