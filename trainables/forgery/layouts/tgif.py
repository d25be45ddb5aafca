"""TGIF and TGIF2 (H. Mareen et al. 2024, 2026): images by text-guided inpainters, found by their names at any depth.

The names are those of IDLabMedia/tgif-dataset: 208901_orig.png is the photograph 208901 of MS-COCO, 208901_orig_512.png
its part that SD2 has filled. 208901_mask_bbox.png_ps_mask.png_sd2_0.png is the photograph with a hole filled by SD2
(`sp`, spliced), 208901_mask_bbox.png_sd2-512_0.png the whole output of SD2 (`fr`, fully regenerated: the mask shows
what was asked for, and every pixel may differ). Folders whose names contain training, validation or testing give the
splits; a photograph in other folders is in the split of its images. Only the photographs that the images were made from
are read, each at the sizes of those images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from trainables.data.image_files import is_image
from trainables.data.listing import data_files
from trainables.forgery.public_file_lists import ListedImage, missing_error

_FAKE = re.compile(
    r"(?P<coco>\d+)_mask_(?P<kind>bbox|segm|random)\.png(?P<ps>_ps_mask\.png)?_(?P<model>[a-z]+\d*[a-z]*)"
    r"(-(?P<side>\d+))?_\d+\.png$"
)
_REAL = re.compile(r"(?P<coco>\d+)_orig(_(?P<side>\d+))?\.png$")
_SPLITS = {"training": "train", "validation": "val", "testing": "test"}


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    files = [file for file in data_files(path) if is_image(file.name)]
    masks = {(_masks_folder(file, path), file.name): file for file in files}
    fakes: list[ListedImage] = []
    sides: set[tuple[str, str | None]] = set()
    splits: dict[str, str] = {}
    for file in files:
        match = _FAKE.fullmatch(file.name)
        if match:
            fakes.append(_fake(file, match, path, masks))
            sides.add((match["coco"], match["side"]))
            splits.setdefault(match["coco"], fakes[-1].split)
    if not fakes:
        raise missing_error(
            path, "image of TGIF", "folders of images such as 208901_mask_bbox.png_ps_mask.png_sd2_0.png"
        )
    reals = []
    for file in files:
        match = _REAL.fullmatch(file.name)
        if match and (match["coco"], match["side"]) in sides:
            split = _split(file, path) or splits[match["coco"]]
            reals.append(ListedImage(file, None, 0, _number(match), split=split))
            sides.discard((match["coco"], match["side"]))  # TGIF2 has the same photograph a second time
    return reals + fakes


def _fake(file: Path, match: re.Match[str], path: Path, masks: Mapping[tuple[str, str], Path]) -> ListedImage:
    model, side = match["model"], match["side"]
    name = f"{match['coco']}_mask_{match['kind']}" + (f"_{side}.png" if side else ".png")
    if match["ps"] or model == "ps":
        name += "_ps_mask.png"  # the hole with the border that Photoshop adds, by which images were spliced
    of_model = "masks-flux" if model.startswith("flux") else f"masks-{model}"
    mask = masks.get((of_model, name)) or masks.get(("masks", name)) or path / "masks" / name
    inpainter = f"{model}-{'fr' if side else 'sp'}"
    return ListedImage(file, mask, 1, _number(match), inpainter, _split(file, path))


def _masks_folder(file: Path, path: Path) -> str:
    """The innermost folder of masks that a file is in, without a split at the end of its name; '' if there is none."""
    parts = [part.lower() for part in file.relative_to(path).parts[:-1]]
    name = next((part for part in reversed(parts) if part.startswith("masks")), "")
    return re.sub(rf"[_-]({'|'.join(_SPLITS)})$", "", name)


def _split(file: Path, path: Path) -> str:
    """Of the folders that a file is in; '' if they name none, which splits by a hash of the photograph."""
    parts = "/".join(file.relative_to(path).parts[:-1]).lower()
    return next((split for word, split in _SPLITS.items() if word in parts), "")


def _number(match: re.Match[str]) -> str:
    """The MS-COCO number with 12 digits, as other sets write it."""
    return f"{int(match['coco']):012d}"
