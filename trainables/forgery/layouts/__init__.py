"""How published sets of manipulated images name and place their files, one module for each layout.

A module has one function `images(path, authentic)`, which lists the images below a folder with their classes, masks and
source photographs, without opening images. Its docstring says where the layout was found. The name of a layout is the
name of its module.
"""

from __future__ import annotations

from pathlib import Path

NAMES = tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__"))
"""The layouts."""
