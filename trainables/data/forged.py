"""Photographs and fakes made from them, with holes, boxes and labels, in memory: what detectors learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

SPLITS = ("train", "val", "test")
KINDS = ("real", "inpainted", "fake_real", "pasted", "resaved")
"""What an image may be; only `inpainted` ones have label 1."""


@dataclass(frozen=True)
class Labelled:
    """One split; the columns are aligned."""

    image_n3hw: Tensor
    """uint8, all of the set's size."""
    mask_n1hw: Tensor
    """bool, the hole; all False for negatives."""
    label_n: Tensor
    """float32: 1 where an image contains an inpainted hole, else 0."""
    box_n4: Tensor
    """float32: x1 y1 x2 y2 in [0, 1] of the image's sides, half-open; zeros for negatives."""
    source: list[str]
    """Which photograph an image was made from."""
    kind: list[str]
    """One of KINDS."""
    inpainter: list[str]
    """Label of the inpainter, '' for negatives."""
    hole_share_n: Tensor
    """float32: share of the pixels in the hole."""
    sharpness_n: Tensor
    """float32: variance of the Laplacian inside the hole relative to the photograph's own there; NaN without a hole."""

    def __len__(self) -> int:
        return len(self.label_n)

    def take(self, index_n: Tensor) -> Labelled:
        """The images of an index, in its order."""
        at = index_n.tolist()
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, column in columns.items():
            columns[name] = column[index_n] if isinstance(column, Tensor) else [column[i] for i in at]
        return Labelled(**columns)


@dataclass(frozen=True)
class Forged:
    """The three splits; no photograph is in two of them.

    fingerprint: SHA-256 over pixels, masks, labels.
    """

    train: Labelled
    val: Labelled
    test: Labelled
    fingerprint: str


def fingerprint(train: Labelled, val: Labelled, test: Labelled) -> str:
    """SHA-256 over the pixels, masks and labels of the splits, in their order."""
    digest = hashlib.sha256()
    for part in (train, val, test):
        for column in (part.image_n3hw, part.mask_n1hw, part.label_n):
            digest.update(str(tuple(column.shape)).encode())
            digest.update(torch.as_tensor(column).contiguous().numpy().tobytes())
    return digest.hexdigest()
