"""Makes a set of real and inpainted images from a resolved forge block (`trainables.forgery.config`), shard by shard.

    shards = plan_shards(resolved, data_root)                     # list[Shard], always the same; checks the inputs
    files = make_shard(resolved, shard, data_root, trained, device, threads)   # {"shards/00000.tar": bytes,
                                                                  #  "shards/00000.json": bytes}, in this order
    files = finish(resolved, shards, {shard.name: content of its .json})       # {"index.json", "card.md", "done.json"}

`trained` is {trial id: (resolved configuration, weights of its network)} for `config.forge_needs(resolved)`. The caller
writes `config.json` (the resolved block) first, then the two files of each shard in the given order, and the files of
`finish` last, in their order. A shard is done if its `.json` exists, a set if its `done.json` exists. Names are
relative to the set's folder, which `trainables.forgery.forged_images.load` reads. Photographs that do not decode are
left out and counted; `make_shard` and `finish` raise TrialError if these are more than 1 % of all.

Shards are deterministic: masks, inpainters, qualities and shares are functions of (seed, split, index of the photograph
in it). Their bytes do not depend on the machine or on the order in which shards are made; with trained networks, this
holds for one kind of device and number of threads. A shard is an uncompressed tar file in WebDataset's layout: KEY.png
(or jpg, webp), KEY.mask.png for a fake or a control, KEY.json. Photographs are processed in blocks to limit memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.config.sections import CaptionSourceConfig, PhotographsConfig
from trainables.data import images
from trainables.data.captions import CaptionSource
from trainables.data.section import read
from trainables.data.splits import SPLITS, Pixels, Source, sizes
from trainables.errors import TrialError
from trainables.forgery import composites, near_duplicates
from trainables.forgery.encoding import SUFFIX, drawn_quality, encode, tar
from trainables.forgery.manifest import check_skipped, finish
from trainables.inpaint import inference
from trainables.masks import families as masks
from trainables.training.loop import generator

__all__ = ["Shard", "finish", "make_shard", "plan_shards"]

BLOCK = 64
"""Photographs that are processed together. Their draws come from one generator, so this number changes every set."""
SHARD_BYTES = 2**26
"""Uncompressed bytes of a shard's photographs: 341 photographs of 256 px."""
MOST = 64 * BLOCK
"""Largest number of photographs in a shard."""


@dataclass(frozen=True)
class Shard:
    """A part of a set: some consecutive photographs of a split."""

    number: int
    split: str
    start: int
    """Index of the first photograph in the split."""
    stop: int
    """Index after the last photograph."""
    of: int
    """Number of photographs in all shards together."""

    @property
    def name(self) -> str:
        return f"{self.number:05d}"

    @property
    def files(self) -> tuple[str, str]:
        """Its two files: the tar file and its index. The shard is done if the second exists."""
        return f"shards/{self.name}.tar", f"shards/{self.name}.json"


def plan_shards(resolved: Mapping[str, Any], data_root: Path | None) -> list[Shard]:
    """All shards of a set, in order. Raises TrialError if photographs are missing or too few."""
    section = read(PhotographsConfig, resolved["images"])
    source = _verified(section.model_dump_json(), data_root)
    counts = sizes(source, section)
    few = next((split for split in SPLITS if resolved["reals"] == "apart" and counts[split] == 1), None)
    if few is not None:
        raise TrialError(
            f"reals: apart with {counts[few]} photograph in the {few} split",
            "the split would have one class only",
            "at least two photographs in each split, or reals: paired",
            f"images: {{{few}: 2}}, or reals: paired",
            "reals",
        )
    step = min(MOST, max(1, SHARD_BYTES // (3 * section.size**2) // BLOCK) * BLOCK)
    parts = [(split, start) for split in SPLITS for start in range(0, counts[split], step)]
    whole = sum(counts.values())
    captions_of = _captions(resolved, source, data_root)
    for split, count in counts.items():
        captions_of(split, 0, count)  # raises TrialError for a photograph without a caption
    return [
        Shard(number, split, start, min(start + step, counts[split]), whole)
        for number, (split, start) in enumerate(parts)
    ]


@lru_cache(maxsize=8)
def _verified(section: str, data_root: Path | None) -> Source:
    """The photographs with verified files. Cached, because the checksums of CIFAR take a third of a second."""
    source = images.source(read(PhotographsConfig, json.loads(section)), data_root)
    source.verify()
    return source


def make_shard(
    resolved: Mapping[str, Any],
    shard: Shard,
    data_root: Path | None,
    trained: inference.LoadTrained | None = None,
    device: str = "cpu",
    threads: int = 2,
) -> dict[str, bytes]:
    """The two files of a shard, by name. Photographs that do not decode are left out; raises TrialError if too many.

    threads: threads for decoding and encoding; their number does not change the result.
    """
    section = read(PhotographsConfig, resolved["images"])
    source = images.source(section, data_root)
    captions_of = _captions(resolved, source, data_root)
    canvas = masks.Canvas(section.size, data_root)
    fill = inference.load(resolved, trained or {}, device)
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    members: list[tuple[str, bytes]] = []
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for start in range(shard.start, shard.stop, BLOCK):
            stop = min(start + BLOCK, shard.stop)
            captions = captions_of(shard.split, start, stop)
            block = _block(resolved, source, captions, shard.split, start, canvas, threads)
            skipped += block.skipped
            for row, files in _encoded(resolved, block, fill, pool):
                rows.append(row)
                members += files
    content = tar(members)
    index = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "rows": rows, "skipped": skipped}
    check_skipped(skipped, shard.of, "finished shards")
    tar_name, index_name = shard.files
    return {tar_name: content, index_name: _json(index)}


def _captions(resolved: Mapping[str, Any], source: Source, root: Path | None) -> Callable[[str, int, int], list[str]]:
    """A function from (split, start, stop) to the first caption of each photograph; '' if the block has no captions.

    Raises TrialError if a captions file does not fit the photographs; the function does if a photograph has no caption.
    """
    if resolved.get("captions") is None:  # older forged sets have no such key
        return lambda _split, start, stop: [""] * (stop - start)
    captions = CaptionSource(CaptionSourceConfig.model_validate(resolved["captions"]), [source], root)
    return lambda split, start, stop: [first for first, *_ in captions.of(source, split, start, stop)]


def _block(
    resolved: Mapping[str, Any],
    source: Source,
    captions: Sequence[str],
    split: str,
    start: int,
    canvas: masks.Canvas,
    threads: int,
) -> composites.PhotographBlock:
    """The usable photographs of a block, with their draws.

    captions: those of all photographs of the block.
    start: a multiple of BLOCK.
    """
    seed, number, stop = resolved["seed"], start // BLOCK, start + len(captions)
    draw = masks.draw(resolved["mask"], BLOCK, canvas, generator(seed, "forge", "masks", split, number))
    uniform = torch.rand(BLOCK, len(composites.DRAWN), generator=generator(seed, "forge", "choices", split, number))
    hole_n1hw = draw.masks(torch.arange(BLOCK), "cpu").bool()
    pixels: list[Pixels] = []
    kept: list[int] = []
    skipped: list[dict[str, str]] = []
    names = source.names(split, start, stop)
    for place, photograph in enumerate(source.read(split, start, stop, canvas.size, threads)):
        if isinstance(photograph, TrialError):
            skipped.append({"source": names[place], "why": photograph.why})
        elif not hole_n1hw[place].any():
            skipped.append({"source": names[place], "why": "its mask has no hole"})
        else:
            pixels.append(photograph)
            kept.append(place)
    return composites.PhotographBlock(
        split=split,
        place=[start + place for place in kept],
        source=[names[place] for place in kept],
        caption=[captions[place] for place in kept],
        photograph_nhw3=np.stack(pixels) if pixels else np.empty((0, canvas.size, canvas.size, 3), dtype=np.uint8),
        hole_nhw=hole_n1hw[kept, 0].numpy(),
        drawn=composites.draws_of(uniform, kept),
        skipped=skipped,
    )


def _encoded(
    resolved: Mapping[str, Any],
    block: composites.PhotographBlock,
    fill: Sequence[inference.Inpainter],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[dict[str, Any], list[tuple[str, bytes]]]]:
    """The index row and the files of each image of a block."""
    hashes = dict(zip(block.place, pool.map(near_duplicates.phash, block.photograph_nhw3), strict=True))
    made = composites.make_images(resolved, block, fill)
    yield from pool.map(lambda image: _files(resolved, image, hashes[image.place]), made)


def _files(
    resolved: Mapping[str, Any], image: composites.ForgedImage, phash: str
) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """The index row of an image, and its files in the tar file."""
    other = resolved["fake_encoder"] if image.label else None
    encoder = other or resolved["encoder"]
    quality = None if encoder["name"] == "png" else drawn_quality(encoder, image.quality)
    key = f"{image.split}-{image.place:06d}-{image.kind}"
    row = {
        "key": key,
        "split": image.split,
        "place": image.place,
        "source": image.source,
        "kind": image.kind,
        "label": image.label,
        "inpainter": image.inpainter,
        "mask": resolved["mask"]["name"] if image.hole_hw is not None else "",
        "box": composites.box(image.hole_hw) if image.label and image.hole_hw is not None else [0.0] * 4,
        "hole_share": float(image.hole_hw.mean()) if image.label and image.hole_hw is not None else 0.0,
        "sharpness": composites.sharpness(image) if image.label else None,
        "quality": quality,
        "phash": phash,
        **({"caption": image.caption} if resolved.get("captions") else {}),
        **({"replaced": image.replaced if image.label else 0.0} if resolved.get("feather_side") else {}),
    }
    files = [(f"{key}.{SUFFIX[encoder['name']]}", encode(image.pixels_hw3, encoder, quality or 0))]
    if image.hole_hw is not None:
        mask = image.hole_hw.astype(np.uint8) * 255
        files.append((f"{key}.mask.png", encode(mask, {"name": "png", "level": 1})))
    return row, [*files, (f"{key}.json", _json(row))]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
