"""COVERAGE (B. Wen et al. 2016): image/1.tif is authentic, image/1t.tif manipulated, mask/1forged.tif its mask.

The layout is that of the lists of CAT-Net and TruFor, and of the loader of photoholmes. The number is the source. Nine
of the published masks (41, 48, 55 to 59, 61, 95) differ in size from their images, according to
SunnyHaze/IML-Dataset-Corrections, which links corrected ones. They are resized here.
"""

from __future__ import annotations

from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, names_in


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    place, masks = folders(path, "image", "mask")
    listed = []
    for name in names_in(place):
        stem = Path(name).stem
        source = stem.removesuffix("t")
        if source == stem:
            listed.append(ListedImage(place / name, None, 0, source))
        else:
            mask = masks / f"{source}forged.tif"
            listed.append(ListedImage(place / name, mask, 1, source, "coverage", any_size=True))
    return listed
