"""The images of task `detect` on the device: a labelled set, resized to what the network sees.

The images stay on the device as uint8 at `data.input_size`; masks and boxes stay those of the set's own size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.detect.perturbations import changed, resize
from trainables.errors import TrialError
from trainables.forgery import forged_images, public_datasets
from trainables.forgery.config import forged_id
from trainables.forgery.forged_images import SPLITS, Forged, Labelled
from trainables.training.session import Machine

RESIZED_AT_ONCE = 256
KEPT = 3
"""Forged sets that a process keeps: an arm's seeds read one once."""


@dataclass(frozen=True)
class Data:
    """size: side of the set's images, px. side: of the images as the network sees them.

    held: training images that a fold leaves out, to which the trained network is applied; without a fold, none.
    others: test images of further sets by their labels. changes: resolved changes of the test images by theirs.
    plain_test: the test images at the set's size, which are changed; None where there is no change.
    """

    train: Labelled
    val: Labelled
    test: Labelled
    held: Labelled | None
    size: int
    side: int
    root: Path | None
    device: torch.device
    own_fingerprint: str
    others: Mapping[str, Labelled] = field(default_factory=dict)
    other_fingerprints: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plain_test: Tensor | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of the set, and of those that it is tested on besides."""
        if not self.other_fingerprints:
            return self.own_fingerprint
        return hashlib.sha256("".join([self.own_fingerprint, *self.other_fingerprints]).encode()).hexdigest()

    def split(self, name: str) -> Labelled:
        chosen: Labelled = getattr(self, name)
        return chosen

    def changed_test(self, label: str) -> Labelled:
        """The test images after a change, as the network sees them."""
        assert self.plain_test is not None
        return replace(self.test, image_n3hw=_seen(changed(self.plain_test, self.changes[label]), self.side))


def load(config: Mapping[str, Any], machine: Machine) -> Data:
    """Read the sets that a resolved configuration names. Raises TrialError where one is missing or does not do."""
    sections = config.get("test_sets") or {}
    others = {label: _read(section, machine, test_alone=True) for label, section in sections.items()}
    return prepare(config, _read(config["data"], machine), others, machine)


def prepare(config: Mapping[str, Any], own: Forged, others: Mapping[str, Forged], machine: Machine) -> Data:
    """What of a set, and of those tested on besides, a resolved configuration asks for, on the device."""
    data = config["data"]
    device = torch.device(machine.device)
    parts = {name: limited(getattr(own, name), data[name], name) for name in SPLITS}
    for name in ("train", "val"):
        _check_classes(parts[name], name)
    held = None
    if data["fold"] is not None:
        parts["train"], held = left_out(parts["train"], *data["fold"])
        _check_classes(parts["train"], "train")
    changes = config.get("test_changes") or {}
    side = data["input_size"]
    return Data(
        **{name: _placed(part, side, device) for name, part in parts.items()},
        held=None if held is None else _placed(held, side, device),
        size=own.train.image_n3hw.shape[2],
        side=side,
        root=machine.data_root,
        device=device,
        own_fingerprint=own.fingerprint,
        others={label: _placed(other.test, side, device) for label, other in others.items()},
        other_fingerprints=tuple(f"{label} {other.fingerprint}" for label, other in others.items()),
        changes=changes,
        plain_test=parts["test"].image_n3hw.to(device) if changes else None,
    )


def _read(section: Mapping[str, Any], machine: Machine, test_alone: bool = False) -> Forged:
    if section.get("set") is not None:
        return public_datasets.load(section["set"], machine.data_root)
    name = forged_id(section["forged"])
    if name not in machine.forged:
        raise TrialError(
            f"forged set {name}",
            "this machine was not given it",
            ", ".join(machine.forged) or "none was given",
            "run the study with `sweeps run`, which forges first, or `sweeps forge FILE`",
            "data.forged",
        )
    return _kept(machine.forged[name], test_alone)


@lru_cache(maxsize=KEPT)
def _kept(folder: Path, test_alone: bool) -> Forged:
    """A forged set, read once a process: its name says what is in it, so it never changes."""
    return forged_images.load(folder, {"train": 0, "val": 0} if test_alone else None)


def limited(part: Labelled, n: int | float | None, split: str) -> Labelled:
    """The first n images of a split, half of them positives; all for None. A smaller n gives a part of a larger one's.

    n: below 1, the share of all images. Raises TrialError where one half is not there.
    """
    if n is None:
        return part
    if isinstance(n, float):
        n = max(2, round(n * len(part)))
    wanted = {True: (n + 1) // 2, False: n // 2}
    positive_n = part.label_n > 0.5
    chosen_n = torch.zeros(len(part), dtype=torch.bool)
    for label, count in wanted.items():
        found = torch.nonzero(positive_n == label).flatten()
        if len(found) < count:
            raise TrialError(
                f"data.{split}: {n}",
                f"half of them, {count}, are to be {'inpainted' if label else 'others'}, and the set has {len(found)}",
                f"2 to {2 * int(min(positive_n.sum(), (~positive_n).sum()))}, or null for all {len(part)}",
                f"lower `data.{split}`, or forge a larger set",
                f"data.{split}",
            )
        chosen_n[found[:count]] = True
    return part.take(torch.nonzero(chosen_n).flatten())


def left_out(part: Labelled, fold: int, folds: int) -> tuple[Labelled, Labelled]:
    """(the images of the other folds, those of one), by photograph: what was made from one is on one side."""
    of_n = torch.tensor([int(hashlib.sha256(source.encode()).hexdigest(), 16) % folds for source in part.source])
    kept, out = (torch.nonzero(which).flatten() for which in (of_n != fold, of_n == fold))
    return part.take(kept), part.take(out)


def _check_classes(part: Labelled, split: str) -> None:
    positives = int(part.label_n.sum())
    if not 0 < positives < len(part):
        raise TrialError(
            f"the {split} images: {len(part)}, of which {positives} are inpainted",
            "a detector needs both kinds to learn from and to choose a threshold by",
            "a set whose training and validation images are of both kinds",
            "forge a set, or add images of the other kind",
            "data",
        )


def _placed(part: Labelled, side: int, device: torch.device) -> Labelled:
    columns = {name: getattr(part, name).to(device) for name in ("mask_n1hw", "label_n", "box_n4")}
    return replace(part, image_n3hw=_seen(part.image_n3hw.to(device), side), **columns)


def _seen(image_n3hw: Tensor, side: int) -> Tensor:
    """uint8 images of the side that the network sees."""
    if image_n3hw.shape[2] == side or not len(image_n3hw):
        return image_n3hw
    parts = [
        resize(part.float(), side).round().clamp(0, 255).to(torch.uint8)
        for part in torch.split(image_n3hw, RESIZED_AT_ONCE)
    ]
    return torch.cat(parts)
