"""Real and inpainted images with masks, boxes and labels, in memory: the data that detectors are trained on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.errors import TrialError
from trainables.forgery.encoding import decode, untar

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
            columns[name] = column[index_n] if isinstance(column, Tensor) else [column[i] for i in at]
        return LabelledImages(**columns)


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


def load(folder: Path, counts: Mapping[str, int | None] | None = None, threads: int = 4) -> ForgedSet:
    """Load a finished set written by `trainables.forgery.shards`; each shard is checked against `done.json`.

    counts: number of images of each split, taken from its start (the images of a photograph are adjacent, so that the
    first images are balanced); None for all.

    Shards that are not needed are not read. The fingerprint is always that of the whole set. Raises TrialError if the
    set is unfinished or damaged, or has too few images.
    """
    done = _json(folder, "done.json", "the set is unfinished or missing")
    index = _read(folder, "index.json")
    if hashlib.sha256(index).hexdigest() != done["index_sha256"]:
        raise _error(folder / "index.json", "it is damaged: its SHA-256 differs from that in done.json")
    rows = json.loads(index)["rows"]
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
    is_fake = {rows["key"][i] for i in at if rows["label"][i]}

    def fill(shard: str) -> None:
        for name, content in untar(_checked(folder, shard, done["shards"][shard]["sha256"])):
            key, _, suffix = name.partition(".")
            if key not in place_of or suffix == "json" or (suffix == "mask.png" and key not in is_fake):
                continue
            pixels = decode(content, grey=suffix == "mask.png")
            if pixels is None or pixels.shape[:2] != (size, size):
                raise _error(folder / "shards" / f"{shard}.tar", f"{name} does not decode to {size}x{size} px")
            if suffix == "mask.png":
                mask_n1hw[place_of[key], 0] = torch.from_numpy(pixels) >= 128
            else:
                image_n3hw[place_of[key]] = torch.from_numpy(pixels).permute(2, 0, 1)

    for _ in pool.map(fill, dict.fromkeys(rows["shard"][i] for i in at)):
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
    content = _read(folder, f"shards/{shard}.tar")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _error(folder / "shards" / f"{shard}.tar", "it is damaged: its SHA-256 differs from that in done.json")
    return content


def _json(folder: Path, name: str, why: str) -> dict[str, Any]:
    """A JSON file of a set. why: the reason in the TrialError if the file cannot be read."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_bytes())
    except OSError as error:
        raise _error(folder / name, why) from error
    except ValueError as error:
        raise _error(folder / name, f"it is damaged: {error}") from error
    return content


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _error(folder / name, f"it cannot be read: {error.strerror}") from error


def _error(file: Path, why: str) -> TrialError:
    return TrialError(
        f"forged set, {file}",
        why,
        "a complete forged set: config.json, shards/, index.json, card.md and done.json",
        "remove damaged files and run `sweeps forge` again: finished shards are kept",
    )
