"""IMD2020, real-life (A. Novozamsky et al. 2020): 1a1ogs/1a1ogs_orig.jpg, 1a1ogs/c8tf5mq_0.png and c8tf5mq_0_mask.png.

The layout is taken from two third-party loaders; each folder is one source.
"""

from __future__ import annotations

from pathlib import Path

from trainables.data.image_files import image_files
from trainables.forgery.public_file_lists import ListedImage


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    """One folder for each photograph, with its manipulated versions and their masks."""
    entries = []
    for name in image_files(path, "set.path"):
        file = path / name
        if file.stem.endswith("_mask"):
            continue
        if file.stem.endswith("_orig"):
            entries.append(ListedImage(file, None, 0, file.parent.name))
        else:
            entries.append(ListedImage(file, file.with_name(f"{file.stem}_mask.png"), 1, file.parent.name, "imd2020"))
    return entries
