"""Loads public sets of manipulated images in their published layouts.

- `folder`: the layout of this project. images/, masks/ (white = manipulated; a mask has its image's name) and
  labels.csv with the columns `file`, `label` (0 or 1) and optionally `source` (photograph), `split`, `inpainter`,
  `x1`, `y1`, `x2`, `y2` (px, half-open).
- `casia`: CASIA 2.0 (J. Dong et al. 2013). Au/Au_ani_00001.jpg, Tp/Tp_D_CND_M_N_ani00018_sec00096_00138.tif,
  `CASIA 2 Groundtruth`/<name>_gt.png. The layout is taken from namtpham/casia2groundtruth and two third-party loaders.
  A name contains the photograph that a part was copied from and the one that it was pasted into; the latter is the
  source.
- `imd2020`: IMD2020, real-life (A. Novozamsky et al. 2020). 1a1ogs/1a1ogs_orig.jpg, 1a1ogs/c8tf5mq_0.png,
  1a1ogs/c8tf5mq_0_mask.png. The layout is taken from two third-party loaders; each folder is one source.
- `defacto`: DEFACTO (G. Mahfoudi et al. 2019). inpainting_img/img/0_000000000260.tif with
  inpainting_annotations/probe_mask/0_000000000260.jpg, likewise copymove and splicing_1 to _7. The layout is taken from
  a third-party loader, according to which masks may differ in size from their images; they are resized here. The set
  has no authentic photographs. The number in a name is that of the MS-COCO image, so `authentic` is a folder of those.
- `coco_inpaint`: COCO-Inpaint (H. Yan et al. 2025). **Its published layout was not found.** This loader reads JSON
  files in the form of IMDL-BenCo's JsonDataset (from memory): lists of [image, mask], with the word Negative as the
  mask of a photograph; names are relative to the set's folder. The number in a name is MS-COCO's, its folder the model.

Images and masks are resized to a square, which keeps boxes as shares of the sides but blurs traces of compression.
Splits are 80/10/10 by a hash of the source unless `labels.csv` has the column `split`. The sharpness of fills is NaN,
because the original photographs are not available.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trainables.data.image_files import WHITE, open_image, path_below, read_grey, whites_in_words, with_reasons
from trainables.data.splits import SPLITS, Pixels
from trainables.errors import TrialError
from trainables.forgery import composites
from trainables.forgery.composites import Bools
from trainables.forgery.config import SetConfig
from trainables.forgery.forged_images import ForgedSet, LabelledImages, fingerprint
from trainables.forgery.manifest import check_skipped
from trainables.forgery.public_file_lists import LISTINGS, ListedImage, chosen_images, set_error, test_images

Read = tuple[Pixels, Bools]
BOX_TOLERANCE = 1.0
"""Largest difference between a side of a box in `labels.csv` and that of the mask, px: for boxes that count ends in."""


def load(section: Mapping[str, Any], data_root: Path | None, threads: int = 4, test_alone: bool = False) -> ForgedSet:
    """The set of a resolved section (`trainables.forgery.config.resolve_set`).

    test_alone: read only the images to test on, which may be of one class; train and val are then empty.

    Images that cannot be used are left out with a warning: those that do not decode, with a mask of another size or
    without a white pixel, or with a box outside the image. Raises TrialError if these are more than 1 %, and for
    missing files and a split with one class only.
    """
    config = SetConfig.model_validate(section)
    folder = path_below(data_root, config.path, "set.path")
    authentic = path_below(data_root, config.authentic, "set.authentic") if config.authentic else None
    listed = LISTINGS[config.layout](folder, authentic)
    if test_alone:
        chosen = {"train": [], "val": [], "test": test_images(listed, config, folder)}
    else:
        chosen = {split: chosen_images(listed, split, getattr(config, split), folder) for split in SPLITS}
    _check_there([entry for some in chosen.values() for entry in some], folder)
    skipped: list[dict[str, str]] = []
    with ThreadPoolExecutor(max_workers=threads) as pool:
        train, val, test = (_labelled(chosen[split], config.size, pool, skipped) for split in SPLITS)
    check_skipped(skipped, sum(map(len, chosen.values())))
    if skipped:
        left_out = with_reasons({each["source"]: each["why"] for each in skipped})
        warnings.warn(f"left out of {folder}: {left_out}", stacklevel=2)
    return ForgedSet(train, val, test, fingerprint(train, val, test))


def _check_there(entries: Sequence[ListedImage], folder: Path) -> None:
    files = [file for entry in entries for file in (entry.image, entry.mask) if file is not None]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise set_error(
            f"set.path: {missing[0]}",
            f"the file is missing ({len(missing):,} missing files in total)",
            f"every image, and a mask for every manipulated image, below {folder}",
            "set.path",
            f"unpack the whole set in {folder}",
        )


def _labelled(
    entries: Sequence[ListedImage], size: int, pool: ThreadPoolExecutor, skipped: list[dict[str, str]]
) -> LabelledImages:
    image_n3hw = torch.empty((len(entries), 3, size, size), dtype=torch.uint8)
    mask_n1hw = torch.zeros((len(entries), 1, size, size), dtype=torch.bool)
    boxes: list[list[float]] = []
    kept: list[ListedImage] = []
    read: Callable[[ListedImage], Read | TrialError] = lambda entry: _read(entry, size)  # noqa: E731
    for entry, decoded in zip(entries, pool.map(read, entries), strict=True):
        if isinstance(decoded, TrialError):
            skipped.append({"source": entry.image.name, "why": decoded.why})
            continue
        n = len(kept)
        pixels, hole = decoded
        image_n3hw[n], mask_n1hw[n, 0] = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(hole)
        boxes.append(composites.box(hole) if entry.label else [0.0] * 4)
        kept.append(entry)
    n = len(kept)
    return LabelledImages(
        image_n3hw=image_n3hw[:n],
        mask_n1hw=mask_n1hw[:n],
        label_n=torch.tensor([entry.label for entry in kept], dtype=torch.float32),
        box_n4=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        source=[entry.source for entry in kept],
        kind=["inpainted" if entry.label else "real" for entry in kept],
        inpainter=[entry.inpainter if entry.label else "" for entry in kept],
        hole_share_n=mask_n1hw[:n].float().mean((1, 2, 3)),
        sharpness_n=torch.full((n,), torch.nan),
    )


def _read(entry: ListedImage, size: int) -> Read | TrialError:
    """Pixels (size, size, 3) and hole (size, size); a TrialError if the image or its mask cannot be used."""
    try:
        return _opened(entry, size)
    except _WrongBoxError:
        raise
    except TrialError as error:
        return error


def _opened(entry: ListedImage, size: int) -> Read:
    image = open_image(entry.image, "set.path").convert("RGB")
    mask = None if entry.mask is None else read_grey(open_image(entry.mask, "set.path"))
    pixels = np.array(image.resize((size, size), Image.Resampling.BILINEAR))
    hole = np.zeros((size, size), dtype=np.bool_) if entry.box is None else _painted(entry, image.size, size)
    if mask is not None:
        hole = _resized(mask, image.size, entry, size)
    if entry.label and not hole.any():
        raise set_error(
            f"set.path: {entry.mask}",
            "the image is labelled as manipulated, but the mask has no white pixel"
            + ("" if mask is None else f": {whites_in_words(mask)}"),
            "a mask that is white where the image was changed",
            "set.path",
            "correct the mask, or label the image 0",
        )
    if mask is not None and entry.box is not None:
        _check_box(entry, mask)
    return pixels, hole


class _WrongBoxError(TrialError):
    """A box in `labels.csv` that disagrees with the mask: not an unusable image, but a wrong label."""


def _check_box(entry: ListedImage, mask: Image.Image) -> None:
    """Raise _WrongBoxError unless the box encloses the mask, up to a pixel."""
    assert entry.box is not None
    shares = composites.box(np.array(mask) >= WHITE)
    true = [share * side for share, side in zip(shares, (*mask.size, *mask.size), strict=True)]
    if max(abs(one - other) for one, other in zip(entry.box, true, strict=True)) > BOX_TOLERANCE:
        error = set_error(
            f"set.path: {entry.image}, box {' '.join(f'{side:g}' for side in entry.box)}",
            f"it disagrees with the mask {entry.mask}, whose box is {' '.join(f'{side:g}' for side in true)}",
            "x1, y1, x2, y2 in px of the image, half-open, around the white pixels of the mask; or no box",
            "set.path",
            "correct labels.csv or the mask, or remove the box",
        )
        raise _WrongBoxError(error.given, error.why, error.allowed, error.fix, error.key)


def _resized(mask: Image.Image, image_size: tuple[int, int], entry: ListedImage, size: int) -> Bools:
    """The mask resized by nearest neighbour; a hole that this misses is kept. Raises TrialError for a wrong size."""
    if mask.size != image_size and not entry.any_size:
        raise set_error(
            f"set.path: {entry.mask}",
            f"the mask has {mask.width}x{mask.height} px, its image {image_size[0]}x{image_size[1]}",
            "a mask of the image's size",
            "set.path",
            "resize the mask, or remove the image",
        )
    hole: Bools = np.array(mask.resize((size, size), Image.Resampling.NEAREST)) >= WHITE
    if not hole.any():
        rows, columns = np.nonzero(np.array(mask) >= WHITE)
        hole[rows * size // mask.height, columns * size // mask.width] = True
    return hole


def _painted(entry: ListedImage, image_size: tuple[int, int], size: int) -> Bools:
    """The hole given by a box. Raises TrialError if the box is empty or extends beyond the image."""
    assert entry.box is not None
    x1, y1, x2, y2 = entry.box
    width, height = image_size
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise set_error(
            f"set.path: {entry.image}, box {x1:g} {y1:g} {x2:g} {y2:g}",
            f"the box {x1:g} {y1:g} {x2:g} {y2:g} is empty, or extends beyond the image ({width}x{height} px)",
            f"0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}",
            "set.path",
            "correct labels.csv",
        )
    hole = np.zeros((size, size), dtype=np.bool_)
    left, top = int(x1 * size / width), int(y1 * size / height)
    hole[top : max(top + 1, round(y2 * size / height)), left : max(left + 1, round(x2 * size / width))] = True
    return hole
