"""AutoSplice (S. Jia et al. 2023): Authentic/, Mask/, and Forged_JPEG100/, Forged_JPEG90/ or Forged_JPEG75/.

The layout is that of the loader of photoholmes: Forged_JPEG100/39406_0.jpg was made from Authentic/39406.jpg by DALL-E
2 in the white part of Mask/39406_mask.png. The folders are the same images at three qualities of JPEG. Photographs have
75, so that another quality tells the classes apart by itself. Every folder that is there is read.
"""

from __future__ import annotations

from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, missing_error, names_in

_FORGED = ("Forged_JPEG100", "Forged_JPEG90", "Forged_JPEG75")


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    real, masks = folders(path, "Authentic", "Mask")
    places = [path / name for name in _FORGED if (path / name).is_dir()]
    if not places:
        raise missing_error(path, _FORGED[0], f"the folders Authentic, Mask and one of {', '.join(_FORGED)}")
    listed = [ListedImage(real / name, None, 0, Path(name).stem) for name in names_in(real)]
    for place in places:
        inpainter = f"dalle2_{place.name.removeprefix('Forged_').lower()}"
        for name in names_in(place):
            source = Path(name).stem.partition("_")[0]
            listed.append(ListedImage(place / name, masks / f"{source}_mask.png", 1, source, inpainter))
    return listed
