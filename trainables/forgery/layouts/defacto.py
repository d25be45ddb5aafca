"""DEFACTO (G. Mahfoudi et al. 2019): inpainting_img/img/ with inpainting_annotations/probe_mask/, likewise others.

The layout is taken from a third-party loader, according to which masks may differ in size from their images; they are
resized here. The set has no authentic photographs. The number in a name is that of the MS-COCO image, so `authentic` is
a folder of those.
"""

from __future__ import annotations

from pathlib import Path

from trainables.data.image_files import image_files
from trainables.data.listing import data_files
from trainables.forgery.public_file_lists import ListedImage, coco_number, missing_error, names_in


def images(path: Path, authentic: Path | None) -> list[ListedImage]:
    """*_img/img/ and *_annotations/probe_mask/, in this folder or below it."""
    folders = {file.parent for file in data_files(path)}
    places = sorted(place for place in folders if place.name == "img" and place.parent.name.endswith("_img"))
    if not places:
        raise missing_error(path, "inpainting_img/img", "folders such as inpainting_img and inpainting_annotations")
    fakes = []
    for place in places:
        kind = place.parent.name.removesuffix("_img")
        masks = place.parent.parent / f"{kind}_annotations" / "probe_mask"
        of_stem = {Path(name).stem: masks / name for name in names_in(masks)}
        for name in names_in(place):
            stem = Path(name).stem
            mask = of_stem.get(stem, masks / f"{stem}.jpg")
            fakes.append(ListedImage(place / name, mask, 1, coco_number(stem), f"defacto_{kind}", any_size=True))
    reals = [] if authentic is None else image_files(authentic, "set.authentic")
    return fakes + [ListedImage(Path(authentic or "") / name, None, 0, coco_number(Path(name).stem)) for name in reals]
