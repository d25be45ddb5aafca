"""Masks of protocols equal those of the authors' code, by checksums of masks that this code has made.

The checksums are of 24 masks each, for np.random.seed(0) to seed(23), made once by the code of advimman/lama at
786f593, fenglinglwb/MAT at d273d89 and JiahuiYu/generative_inpainting at 3a53243, which is not part of this repository.
LaMa's images were in turn square, wide (3:2) and tall; its masks are those of the squares that its code cuts.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest

from sweeps.api.protocols.named import find_protocol
from sweeps.protocols import files
from trainables.protocols.generators import family
from trainables.protocols.masked_images import Photographs
from trainables.protocols.protocol import Protocol, resolve

OF_THE_AUTHORS = {
    "lama-thin-256": "e2e7ace582fecb72",
    "lama-medium-256": "0285e15a44917a82",
    "lama-thick-256": "8cff41a10186b459",
    "lama-thin-512": "bfb6eebcea583fc4",
    "lama-medium-512": "46bdae1379280907",
    "lama-thick-512": "bdf6716a39bcae6c",
    "mat-large-256": "93941ce931ebc2be",
    "mat-small-256": "b8c417c528b2b62b",
    "mat-large-512": "8a3f036f5d4f1f49",
    "mat-small-512": "4554d290d4a0e679",
    "deepfill-freeform": "190080976ff19fcc",
}


@pytest.mark.parametrize("name", OF_THE_AUTHORS)
def test_masks_equal_those_of_the_authors_code(name: str) -> None:
    content = find_protocol(name).content
    draw = importlib.import_module(f"trainables.protocols.generators.{content.masks['name']}").draw
    side, sha256 = content.images.size, hashlib.sha256()
    for seed in range(24):
        shape = [(side, side), (side, side * 3 // 2), (side * 3 // 2, side)][seed % 3 if name.startswith("lama") else 0]
        hole_hw, square = draw(content.mask_options(), *shape, np.random.RandomState(seed))
        assert hole_hw[square].shape == (side, side)
        sha256.update(np.packbits(hole_hw[square]).tobytes())
    assert sha256.hexdigest()[:16] == OF_THE_AUTHORS[name]


OF_OUR_OWN = {
    "lines-32": "c14d72b92e905660",
    "random-blocks-128": "bcb87ad0e93cf533",
    "random-regions-128": "51c3a34d4ccb2137",
}
"""The same for masks of our own making: if the code draws others, its protocols need new names."""


@pytest.mark.parametrize("name", OF_OUR_OWN)
def test_masks_of_our_own_do_not_change(name: str) -> None:
    content = find_protocol(name).content
    assert isinstance(content, Protocol)
    side, sha256 = content.images.size, hashlib.sha256()
    for seed in range(8):
        hole_hw, _ = family.draw(content.mask_options(), side, side, np.random.RandomState(seed))
        sha256.update(np.packbits(hole_hw).tobytes())
    assert sha256.hexdigest()[:16] == OF_OUR_OWN[name]


def test_every_protocol_that_claims_equal_bits_is_checked() -> None:
    claimed = {name for name in files.names() if find_protocol(name).content.equality == "bits"}
    assert claimed == set(OF_THE_AUTHORS)
    assert {name for name in files.names() if find_protocol(name).content.equality == "own"} == set(OF_OUR_OWN)


def test_published_files_fall_into_their_published_blocks(data_root: Path) -> None:
    """File 40 i of Liu et al.'s 12,000 belongs to block 40 i // 1000: six sizes, each without and with border holes."""
    _, value = files.read("pconv-6")
    value["masks"]["files"] = None  # 300 of the 12,000 are here
    masks = data_root / "nvidia_irregular_masks" / "testing_mask_dataset"
    images = Photographs(resolve(value), data_root / "kodak24", masks)
    assert images._masks
    sizes = ("01-10", "10-20", "20-30", "30-40", "40-50", "50-60")
    blocks = [f"{size}{border}" for size in sizes for border in ("", "-border")]
    assert list(images._masks.groups) == sorted(blocks)
    for group, members in images._masks.groups.items():
        assert len(members) == 25
        assert {blocks[int(member[:5]) // 1000] for member in members} == {group}
    assert len(images.keys) == 24 * 12
    assert images.keys[:2] == ["01-10/kodim01", "01-10-border/kodim01"]
