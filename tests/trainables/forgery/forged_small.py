"""A small set of real and inpainted images made from CIFAR-10 in memory, for tests of detectors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from trainables import schema
from trainables.data import images
from trainables.detect import dataset as detect_dataset
from trainables.detect import task as detect
from trainables.forgery import config as forgery_config
from trainables.forgery import shards as forged_shards
from trainables.forgery.forged_images import ForgedSet, LabelledImages, fingerprint
from trainables.training.session import Machine

BLOCK = {"images": {"name": "cifar10", "size": 32}, "inpainters": [{"name": "mean_fill"}]}


class InMemory:
    """Task `detect` on sets in memory."""

    BEST = detect.BEST

    def __init__(self, own: ForgedSet, others: dict[str, ForgedSet] | None = None) -> None:
        self.own, self.others = own, others or {}
        for name in ("build", "train", "evaluate", "check_extra", "extra", "facts", "samples", "final_files"):
            setattr(self, name, getattr(detect, name))

    def load(self, config: dict[str, Any], machine: Machine) -> detect_dataset.DetectDataset:
        return detect_dataset.prepare(config, self.own, self.others, machine)


def configured(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A small resolved configuration with its seed."""
    data = {"forged": BLOCK, **changes.pop("data", {})}
    model = {"name": "search_net", "width": 4, "depth": 1, "stages": 2, "head": "box"}
    base = {"data": data, "model": model, "batch": 16, "epochs": 2}
    return {**schema.resolve("detect", {**base, **changes}, Path.cwd()), "seed": seed}


@cache
def small(root: Path, train: int = 32, val: int = 16, test: int = 16, fill: str = "mean") -> ForgedSet:
    """This number of photographs in each split, each followed by its fake. fill: `mean`, `telea` or `noise`."""
    section = {"name": "cifar10", "size": 32, "train": train, "val": val, "test": test}
    photographs = images.load(section, root)
    parts = [
        _labelled(getattr(photographs, name), np.random.default_rng(i), name, fill)
        for i, name in enumerate(("train", "val", "test"))
    ]
    return ForgedSet(*parts, fingerprint(*parts))


def _labelled(image_n3hw: Tensor, draw: np.random.Generator, split: str, fill: str) -> LabelledImages:
    n, size = len(image_n3hw), image_n3hw.shape[2]
    mask_n1hw = torch.zeros(n, 1, size, size, dtype=torch.bool)
    box_n4 = torch.zeros(n, 4)
    fake_n3hw = image_n3hw.clone()
    for i in range(n):
        width, height = draw.integers(size // 4, size // 2, 2)
        x, y = int(draw.integers(0, size - width)), int(draw.integers(0, size - height))
        mask_n1hw[i, 0, y : y + height, x : x + width] = True
        box_n4[i] = torch.tensor([x, y, x + width, y + height]) / size
        fake_n3hw[i] = _filled(image_n3hw[i], mask_n1hw[i, 0], fill, draw)
    alternate = [
        torch.stack(pair, 1).flatten(0, 1)
        for pair in (
            (image_n3hw, fake_n3hw),
            (torch.zeros_like(mask_n1hw), mask_n1hw),
            (torch.zeros_like(box_n4), box_n4),
        )
    ]
    share_n = alternate[1].float().mean((1, 2, 3))
    sharpness_n = torch.where(share_n > 0, torch.from_numpy(draw.random(2 * n, np.float32)), torch.nan)
    return LabelledImages(
        *alternate[:2],
        torch.tensor([0.0, 1.0]).repeat(n),
        alternate[2],
        [f"{split}-{i}" for i in range(n) for _ in range(2)],
        ["real", "inpainted"] * n,
        ["", fill] * n,
        share_n,
        sharpness_n,
    )


def _filled(image_3hw: Tensor, hole_hw: Tensor, fill: str, draw: np.random.Generator) -> Tensor:
    if fill == "telea":
        pixels = np.ascontiguousarray(image_3hw.permute(1, 2, 0).numpy())
        return torch.from_numpy(cv2.inpaint(pixels, hole_hw.numpy().astype(np.uint8), 3, cv2.INPAINT_TELEA)).permute(
            2, 0, 1
        )
    if fill == "noise":
        inside = torch.from_numpy(draw.integers(0, 256, image_3hw.shape, np.uint8))
    else:
        inside = image_3hw[:, ~hole_hw].float().mean(1).to(torch.uint8)[:, None, None].expand_as(image_3hw)
    return torch.where(hole_hw, inside, image_3hw)


def on_disk(root: Path, folder: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Path]]:
    """(resolved block, {set id: folder}) of a set that was forged as a driver does it."""
    counts = {"train": 24, "val": 8, "test": 8}
    block = forgery_config.resolve_forge({**BLOCK, "images": {**BLOCK["images"], **counts}, **changes})
    name = forgery_config.forged_id(block)
    shards = forged_shards.plan_shards(block, root)
    files = {"config.json": json.dumps(block).encode()}
    for shard in shards:
        files |= forged_shards.make_shard(block, shard, root, {}, "cpu", 1)
    files |= forged_shards.finish(block, shards, {shard.name: json.loads(files[shard.files[1]]) for shard in shards})
    for path, content in files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(content)
    return block, {name: folder / name}
