"""Real and inpainted images with masks, boxes and labels, in memory: the data that detectors are trained on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.errors import TrialError
from trainables.forgery import forged_index
from trainables.forgery.encoding import decode, untar
from trainables.forgery.forged_index import set_error

SPLITS = ("train", "val", "test")
KINDS = ("real", "inpainted", "fake_real", "pasted", "resaved")
"""Kinds of images; only `inpainted` images have label 1."""


@dataclass(frozen=True)
class LabelledImages:
    """One split: n images in aligned columns."""

    image_n3hw: Tensor
    """uint8, all of the set's size."""
    mask_n1hw: Tensor
    """bool, True in the hole; all False for negatives."""
    label_n: Tensor
    """float32: 1 if the image contains an inpainted hole, else 0."""
    box_n4: Tensor
    """float32: x1 y1 x2 y2 as shares of the image's sides, half-open; zeros for negatives."""
    source: list[str]
    """The photograph that the image was made from."""
    kind: list[str]
    """One of KINDS."""
    inpainter: list[str]
    """Label of the inpainter, '' for negatives."""
    hole_share_n: Tensor
    """float32: share of the pixels in the hole."""
    sharpness_n: Tensor
    """float32: variance of the Laplacian inside the hole relative to that of the photograph; NaN without a hole."""

    def __len__(self) -> int:
        return len(self.label_n)

    def take(self, index_n: Tensor) -> LabelledImages:
        """The images with these indices, in this order."""
        at = index_n.tolist()
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, column in columns.items():
            if isinstance(column, list):
                columns[name] = [column[i] for i in at]
            elif isinstance(column, Tensor):
                columns[name] = column[index_n]
        return replace(self, **columns)


@dataclass(frozen=True)
class ForgedSet:
    """The three splits of a set; no photograph is in more than one of them."""

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    fingerprint: str
    """SHA-256 over pixels, masks and labels; for a set that was forged here, over its shards, which contain them."""


def fingerprint(train: LabelledImages, val: LabelledImages, test: LabelledImages) -> str:
    """SHA-256 over the pixels, masks and labels of the splits, in their order."""
    digest = hashlib.sha256()
    for part in (train, val, test):
        for column in (part.image_n3hw, part.mask_n1hw, part.label_n):
            digest.update(str(tuple(column.shape)).encode())
            digest.update(column.contiguous().numpy().data)
    return digest.hexdigest()


# --- reading a forged set ---------------------------------------------------------------------------------------------


def load(
    folder: Path, counts: Mapping[str, int | None] | None = None, threads: int = 4, size: int | None = None
) -> ForgedSet:
    """Load a finished set written by `trainables.forgery.shards`; each shard is checked against `done.json`.

    counts: number of images of each split, taken from its start (the images of a photograph are adjacent, so that the
    first images are balanced); None for all.
    size: side of the images that the set must have, px; None for any.

    Shards that are not needed are not read. The fingerprint is always that of the whole set. Raises TrialError if the
    set is unfinished or damaged, or has too few images. A set may come from others: no name in it leads out of its
    folder, and nothing in it is decoded that is larger than it should be.
    """
    done, rows = forged_index.read(folder)
    if size is not None and done["size"] != size:
        raise set_error(folder / "done.json", f"its images have {done['size']} px, and the configuration {size}")
    with ThreadPoolExecutor(max_workers=threads) as pool:
        train, val, test = (_split(folder, done, rows, split, (counts or {}).get(split), pool) for split in SPLITS)
    return ForgedSet(train, val, test, done["fingerprint"])


def _split(
    folder: Path,
    done: Mapping[str, Any],
    rows: Mapping[str, list[Any]],
    split: str,
    count: int | None,
    pool: ThreadPoolExecutor,
) -> LabelledImages:
    at = [i for i, of in enumerate(rows["split"]) if of == split]
    if count is not None and count > len(at):
        raise TrialError(
            f"data.{split}: {count}",
            f"the {split} split of the forged set {done['id']} has {len(at):,} images",
            f"1 to {len(at)}, or null for all",
            f"{split}: {len(at)}",
            f"data.{split}",
        )
    at, size = at[:count], done["size"]
    image_n3hw = torch.empty((len(at), 3, size, size), dtype=torch.uint8)
    mask_n1hw = torch.zeros((len(at), 1, size, size), dtype=torch.bool)
    place_of = {rows["key"][i]: n for n, i in enumerate(at)}
    of_shard: dict[str, list[int]] = {}
    for i in at:
        of_shard.setdefault(rows["shard"][i], []).append(i)
    is_fake = {rows["key"][i] for i in at if rows["label"][i]}

    def fill(shard: str) -> None:
        file = folder / "shards" / f"{shard}.tar"
        tar = _checked(folder, shard, done["shards"][shard]["sha256"])
        keys = [rows["key"][i] for i in of_shard[shard]]
        wanted = {(key, False) for key in keys} | {(key, True) for key in keys if key in is_fake}
        try:
            for name, content in untar(tar):
                key, _, suffix = name.partition(".")
                is_mask = suffix == "mask.png"
                if suffix == "json" or (is_mask and key in place_of and key not in is_fake):
                    continue
                if (key, is_mask) not in wanted:
                    if key in place_of:
                        raise ValueError(f"{name} is a second image of {key}, or belongs to another shard")
                    continue
                wanted.remove((key, is_mask))
                pixels = decode(content, is_mask, size)
                if pixels is None or pixels.shape[:2] != (size, size):
                    raise ValueError(f"{name} does not decode to {size}x{size} px")
                if is_mask:
                    mask_n1hw[place_of[key], 0] = torch.from_numpy(pixels) >= 128
                else:
                    image_n3hw[place_of[key]] = torch.from_numpy(pixels).permute(2, 0, 1)
        except ValueError as error:
            raise set_error(file, str(error)) from error
        if wanted:
            key, is_mask = min(wanted)
            what = "mask" if is_mask else "image"
            raise set_error(file, f"{len(wanted)} files are missing in it, such as the {what} of {key}")

    for _ in pool.map(fill, of_shard):
        pass
    column = {name: [values[i] for i in at] for name, values in rows.items()}
    sharpness = [math.nan if value is None else value for value in column["sharpness"]]
    return LabelledImages(
        image_n3hw=image_n3hw,
        mask_n1hw=mask_n1hw,
        label_n=torch.tensor(column["label"], dtype=torch.float32),
        box_n4=torch.tensor(column["box"], dtype=torch.float32).view(-1, 4),
        source=column["source"],
        kind=column["kind"],
        inpainter=column["inpainter"],
        hole_share_n=torch.tensor(column["hole_share"], dtype=torch.float32),
        sharpness_n=torch.tensor(sharpness, dtype=torch.float32),
    )


def _checked(folder: Path, shard: str, sha256: str) -> bytes:
    file = folder / "shards" / f"{shard}.tar"
    content = forged_index.read_file(folder, f"shards/{shard}.tar")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise set_error(file, "it is damaged: its SHA-256 differs from that in done.json")
    return content
