"""CocoGlide (F. Guillaro et al. 2023): real/, fake/ and mask/, images of 256 px.

The layout is that of TruFor's lists: fake/glide_inpainting_val2017_114871_up.png was made from real/dining
table_114871.png with the mask mask/dining table_114871_mask.png. The number is that of the MS-COCO image.
"""

from __future__ import annotations

import re
from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, names_in

_FAKE = re.compile(r"glide_inpainting_val2017_(?P<coco>\d+)_up$")
_NUMBER = re.compile(r"_(?P<coco>\d+)$")


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    real, fake, masks = folders(path, "real", "fake", "mask")
    of_number = {_number(_NUMBER, name): f"{Path(name).stem}_mask.png" for name in names_in(real)}
    reals = [ListedImage(real / name, None, 0, _number(_NUMBER, name)) for name in names_in(real)]
    fakes = []
    for name in names_in(fake):
        number = _number(_FAKE, name)
        mask = of_number.get(number, f"{number}_mask.png")
        fakes.append(ListedImage(fake / name, masks / mask, 1, number, "glide"))
    return reals + fakes


def _number(pattern: re.Pattern[str], name: str) -> str:
    """The MS-COCO number of a name with 12 digits, as other sets write it; the name without it."""
    match = pattern.search(Path(name).stem)
    return f"{int(match['coco']):012d}" if match else Path(name).stem
