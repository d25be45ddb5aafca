"""Reads the holes of mask files, for `irregular` masks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables.data.image_files import WHITE, image_files, open_image, read_grey, whites_in_words, with_reasons
from trainables.data.loaded import cached
from trainables.errors import TrialError
from trainables.masks.config import IrregularConfig
from trainables.masks.hole_shares import MOST


@cached(maxsize=4)
def holes(folder: Path, size: int, white: bool) -> Tensor:
    """holes_fhw (uint8, 0 or 1) of every mask file below a folder; cached for the process.

    Raises TrialError, which names the files, if some do not decode.
    """
    read, damaged = [], {}
    for name in image_files(folder, "mask.path"):
        try:
            image = read_grey(open_image(folder / name, "mask.path"))
        except TrialError as error:
            damaged[name] = error.why
            continue
        pixels = np.array(image.resize((size, size), Image.Resampling.NEAREST))
        read.append(torch.from_numpy((pixels >= WHITE) == white))
    if damaged:
        raise TrialError(
            f"mask.path: {folder}",
            f"{len(damaged):,} files cannot be used: {with_reasons(damaged)}",
            "image files of 8 bits per channel",
            "restore these files, or move them out of the folder",
            "mask.path",
        )
    holes_fhw = torch.stack(read).to(torch.uint8)
    share = holes_fhw.float().mean().item()
    if share > MOST:
        other = "black" if white else "white"
        warnings.warn(
            f"the holes of {folder} cover {share:.0%} of the image on average; if holes are {other}, set hole: {other}",
            stacklevel=3,
        )
    return holes_fhw


def refuse_useless(holes_fhw: Tensor, folder: Path, options: IrregularConfig) -> None:
    """Raise TrialError, which names the files, if a mask has no hole or nothing else at the size of the images."""
    share_f = holes_fhw.float().mean((1, 2))
    useless = torch.nonzero((share_f == 0) | (share_f == 1)).flatten().tolist()
    if not useless:
        return
    names, size = image_files(folder, "mask.path"), holes_fhw.shape[1]
    found: dict[str, str] = {}
    for index in useless:
        image = open_image(folder / names[index], "mask.path")
        white = np.array(read_grey(image)) >= WHITE
        if len(found) < 3 and share_f[index] == 0 and (white == (options.hole == "white")).any():
            found[names[index]] = f"no hole is left at {size} px: its holes are too thin"
        else:
            what = "no hole" if share_f[index] == 0 else "nothing but a hole"
            found[names[index]] = f"{what}: {whites_in_words(image)}" if len(found) < 3 else what
    raise TrialError(
        f"mask.path: {folder}",
        f"{len(found):,} of {len(names):,} masks would mask nothing or everything: {with_reasons(found)}",
        f"masks that are {options.hole} ({WHITE} and above is white) in a part of the image",
        "save them as grey images with 0 and 255, or use only files with a suitable hole share: "
        "--set mask.fraction='[0.01, 0.9]'",
        "mask.path",
    )
