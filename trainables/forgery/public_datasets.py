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

Images and masks are resized to a square, which keeps boxes as shares of the sides but blurs traces of compression;
with `native: true` they keep their size.
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
from trainables.forgery import composites, native_images
from trainables.forgery.composites import Bools
from trainables.forgery.config import SetConfig
from trainables.forgery.forged_images import ForgedSet, LabelledImages, fingerprint
from trainables.forgery.manifest import check_skipped
from trainables.forgery.native_images import NativeImages
from trainables.forgery.public_file_lists import LISTINGS, ListedImage, chosen_images, set_error, test_images

Read = tuple[Pixels, Bools, Pixels | None, Bools | None]
"""Pixels and hole of an image as a square, and with `native` at its own size."""
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
        train, val, test = (_labelled(chosen[split], config, pool, skipped) for split in SPLITS)
    check_skipped(skipped, sum(map(len, chosen.values())))
    if skipped:
        left_out = with_reasons({each["source"]: each["why"] for each in skipped})
        warnings.warn(f"left out of {folder}: {left_out}", stacklevel=2)
    natives = [part for part in (train, val, test) if isinstance(part, NativeImages)]
    hashed = native_images.fingerprint(*natives) if natives else fingerprint(train, val, test)
    return ForgedSet(train, val, test, hashed)


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
    entries: Sequence[ListedImage], config: SetConfig, pool: ThreadPoolExecutor, skipped: list[dict[str, str]]
) -> LabelledImages:
    size, native = config.size, bool(config.native)
    image_n3hw = torch.empty((len(entries), 3, size, size), dtype=torch.uint8)
    mask_n1hw = torch.zeros((len(entries), 1, size, size), dtype=torch.bool)
    boxes: list[list[float]] = []
    kept: list[ListedImage] = []
    shares: list[float] = []
    whole: list[torch.Tensor] = []
    holes: list[torch.Tensor] = []
    read: Callable[[ListedImage], Read | TrialError] = lambda entry: _read(entry, size, native)  # noqa: E731
    for entry, decoded in zip(entries, pool.map(read, entries), strict=True):
        if isinstance(decoded, TrialError):
            skipped.append({"source": entry.image.name, "why": decoded.why})
            continue
        n = len(kept)
        pixels, hole, own_pixels, own_hole = decoded
        image_n3hw[n], mask_n1hw[n, 0] = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(hole)
        if own_pixels is not None and own_hole is not None:
            whole.append(torch.from_numpy(own_pixels).permute(2, 0, 1).contiguous())
            holes.append(torch.from_numpy(own_hole))
            shares.append(float(own_hole.mean()))
            hole = own_hole
        boxes.append(composites.box(hole) if entry.label else [0.0] * 4)
        kept.append(entry)
    n = len(kept)
    columns: dict[str, Any] = {"photograph": whole, "hole": holes} if native else {}
    return (NativeImages if native else LabelledImages)(
        image_n3hw=image_n3hw[:n],
        mask_n1hw=mask_n1hw[:n],
        label_n=torch.tensor([entry.label for entry in kept], dtype=torch.float32),
        box_n4=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        source=[entry.source for entry in kept],
        kind=["inpainted" if entry.label else "real" for entry in kept],
        inpainter=[entry.inpainter if entry.label else "" for entry in kept],
        hole_share_n=torch.tensor(shares) if native else mask_n1hw[:n].float().mean((1, 2, 3)),
        sharpness_n=torch.full((n,), torch.nan),
        **columns,
    )


def _read(entry: ListedImage, size: int, native: bool) -> Read | TrialError:
    """The image and its hole; a TrialError if the image or its mask cannot be used."""
    try:
        return _opened(entry, size, native)
    except _WrongBoxError:
        raise
    except TrialError as error:
        return error


def _opened(entry: ListedImage, size: int, native: bool) -> Read:
    image = open_image(entry.image, "set.path").convert("RGB")
    mask = None if entry.mask is None else read_grey(open_image(entry.mask, "set.path"))
    pixels = np.array(image.resize((size, size), Image.Resampling.BILINEAR))
    hole = _hole(entry, mask, image.size, (size, size))
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
    if not native:
        return pixels, hole, None, None
    return pixels, hole, np.array(image), _hole(entry, mask, image.size, image.size)


def _hole(entry: ListedImage, mask: Image.Image | None, image_size: tuple[int, int], size: tuple[int, int]) -> Bools:
    """The hole of an image that is resized to (width, height) `size`: of the mask, else of the box, else none."""
    hole = np.zeros(size[::-1], dtype=np.bool_) if entry.box is None else _painted(entry, image_size, size)
    return hole if mask is None else _resized(mask, image_size, entry, size)


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


def _resized(mask: Image.Image, image_size: tuple[int, int], entry: ListedImage, size: tuple[int, int]) -> Bools:
    """The mask resized by nearest neighbour; a hole that this misses is kept. Raises TrialError for a wrong size."""
    if mask.size != image_size and not entry.any_size:
        raise set_error(
            f"set.path: {entry.mask}",
            f"the mask has {mask.width}x{mask.height} px, its image {image_size[0]}x{image_size[1]}",
            "a mask of the image's size",
            "set.path",
            "resize the mask, or remove the image",
        )
    hole: Bools = np.array(mask.resize(size, Image.Resampling.NEAREST)) >= WHITE
    if not hole.any():
        rows, columns = np.nonzero(np.array(mask) >= WHITE)
        hole[rows * size[1] // mask.height, columns * size[0] // mask.width] = True
    return hole


def _painted(entry: ListedImage, image_size: tuple[int, int], size: tuple[int, int]) -> Bools:
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
    hole = np.zeros(size[::-1], dtype=np.bool_)
    left, top = int(x1 * size[0] / width), int(y1 * size[1] / height)
    hole[top : max(top + 1, round(y2 * size[1] / height)), left : max(left + 1, round(x2 * size[0] / width))] = True
    return hole
