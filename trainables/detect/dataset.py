"""Data of task `detect`: a labelled set of images on the device, resized to the network's input size.

Images stay on the device as uint8 at `data.input_size`; masks keep the size of the set. Photographs of a set with
`native` stay on the CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.data.loaded import cached
from trainables.detect.change_config import changed_sets
from trainables.detect.perturbations import perturb, resize
from trainables.errors import TrialError
from trainables.forgery import forged_images, public_datasets
from trainables.forgery.config import forged_id, of_trial
from trainables.forgery.forged_images import SPLITS, ForgedSet, LabelledImages
from trainables.forgery.native_images import DRAWS, NativeImages
from trainables.training.loop import generator
from trainables.training.session import Machine

RESIZED_AT_ONCE = 256
BLIND = ("constant_box", "majority")
"""Detectors that give the same answer for every image, so that nothing is gained by windows of a photograph."""
KEPT = 3
"""Number of forged sets cached in a process, so that the seeds of an arm read each set once."""


@dataclass(frozen=True)
class DetectDataset:
    """Splits of a labelled set, with the other sets and perturbations that the detector is tested on."""

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    held: LabelledImages | None
    """Training images that a fold leaves out, to which the trained network is applied; None without a fold."""
    size: int
    """Side of the set's images, px."""
    side: int
    """Side of the network's input, px."""
    root: Path | None
    """Data root."""
    device: torch.device
    own_fingerprint: str
    """Fingerprint of the set itself."""
    others: Mapping[str, LabelledImages] = field(default_factory=dict)
    """Test images of further sets, by label."""
    other_fingerprints: tuple[str, ...] = ()
    """`LABEL FINGERPRINT` of each further set."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Resolved changes of the test images, by label."""
    plain: Mapping[str, Tensor] = field(default_factory=dict)
    """Test images at their set's size, to which changes apply, by the label of the set, `own` for its own."""

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the set and of the further test sets."""
        if not self.other_fingerprints:
            return self.own_fingerprint
        return hashlib.sha256("".join([self.own_fingerprint, *self.other_fingerprints]).encode()).hexdigest()

    def split(self, name: str) -> LabelledImages:
        chosen: LabelledImages = getattr(self, name)
        return chosen

    def changed_tests(self) -> Iterator[tuple[str, LabelledImages]]:
        """Test images after each change, at the network's input size, by label: of another set, `SET_CHANGE`."""
        for label, change in self.changes.items():
            for name in changed_sets(change):
                part = self.test if name == "own" else self.others[name]
                if isinstance(part, NativeImages):
                    changed = [perturb(one[None], change, i)[0] for i, one in enumerate(part.photograph)]
                    yield label if name == "own" else f"{name}_{label}", replace(part, photograph=changed)
                    continue
                changed_n3hw = _seen(perturb(self.plain[name], change), self.side)
                yield label if name == "own" else f"{name}_{label}", replace(part, image_n3hw=changed_n3hw)


def load(config: Mapping[str, Any], machine: Machine) -> DetectDataset:
    """Read the sets that a resolved configuration names. Raises TrialError if one is missing or unsuitable."""
    sections = config.get("test_sets") or {}
    seed = config["seed"]
    others = {label: _read(section, machine, seed, test_alone=True) for label, section in sections.items()}
    return prepare(config, _read(config["data"], machine, seed), others, machine)


def prepare(
    config: Mapping[str, Any], own: ForgedSet, others: Mapping[str, ForgedSet], machine: Machine
) -> DetectDataset:
    """Select the images that a resolved configuration uses, of its and further sets, and move them to the device."""
    data = config["data"]
    device = torch.device(machine.device)
    parts = {name: first_images(getattr(own, name), data[name], name) for name in SPLITS}
    for name in ("train", "val"):
        _check_classes(parts[name], name)
    held = None
    if data["fold"] is not None:
        parts["train"], held = split_fold(parts["train"], *data["fold"])
        _check_classes(parts["train"], "train")
    changes = config.get("test_changes") or {}
    changed = {name for change in changes.values() for name in changed_sets(change)}
    tested = {"own": parts["test"], **{label: other.test for label, other in others.items()}}
    side = data["input_size"]
    scanned = config["model"]["name"] not in BLIND
    return DetectDataset(
        **{name: _placed(part, side, device, scanned) for name, part in parts.items()},
        held=None if held is None else _placed(held, side, device, scanned),
        size=own.train.image_n3hw.shape[2],
        side=side,
        root=machine.data_root,
        device=device,
        own_fingerprint=own.fingerprint,
        others={label: _placed(other.test, side, device, scanned) for label, other in others.items()},
        other_fingerprints=tuple(f"{label} {other.fingerprint}" for label, other in others.items()),
        changes=changes,
        plain={
            name: tested[name].image_n3hw.to(device)
            for name in sorted(changed)
            if not isinstance(tested[name], NativeImages)
        },
    )


def _read(section: Mapping[str, Any], machine: Machine, seed: int, test_alone: bool = False) -> ForgedSet:
    if section.get("set") is not None:
        return public_datasets.load(section["set"], machine.data_root, test_alone=test_alone)
    name = forged_id(of_trial(section["forged"], seed))
    if name not in machine.forged:
        raise TrialError(
            f"forged set {name}",
            "it is not available on this machine",
            f"available: {', '.join(machine.forged) or 'none'}",
            "run the sweep with `sweeps run`, which forges the set first, or type `sweeps forge FILE`",
            "data.forged",
        )
    return _load_cached(machine.forged[name], test_alone, section["forged"]["images"]["size"])


@cached(maxsize=KEPT)
def _load_cached(folder: Path, test_alone: bool, size: int) -> ForgedSet:
    """Read a forged set once per process."""
    return forged_images.load(folder, {"train": 0, "val": 0} if test_alone else None, size=size)


def first_images(part: LabelledImages, n: int | float | None, split: str) -> LabelledImages:
    """The first n images of a split, half of them positives; a smaller n selects a subset of a larger n.

    n: a number of images; a float is a share of all images, None means all. Raises TrialError if either half has too
    few images.
    """
    if n is None:
        return part
    if isinstance(n, float):
        n = max(2, round(n * len(part)))
    wanted = {True: (n + 1) // 2, False: n // 2}
    positive_n = part.label_n > 0.5
    chosen_n = torch.zeros(len(part), dtype=torch.bool)
    for label, count in wanted.items():
        index = torch.nonzero(positive_n == label).flatten()
        if len(index) < count:
            raise TrialError(
                f"data.{split}: {n}",
                f"half of them ({count}) must be {'' if label else 'not '}inpainted; the set has {len(index)} such",
                f"2 to {2 * int(min(positive_n.sum(), (~positive_n).sum()))}, or null for all {len(part)}",
                f"lower `data.{split}`, or use a larger set",
                f"data.{split}",
            )
        chosen_n[index[:count]] = True
    return part.take(torch.nonzero(chosen_n).flatten())


def split_fold(part: LabelledImages, fold: int, folds: int) -> tuple[LabelledImages, LabelledImages]:
    """(images of the other folds, images of this fold). All images made from one photograph are in the same fold."""
    fold_n = torch.tensor([int(hashlib.sha256(source.encode()).hexdigest(), 16) % folds for source in part.source])
    others, own = (torch.nonzero(which).flatten() for which in (fold_n != fold, fold_n == fold))
    return part.take(others), part.take(own)


def _check_classes(part: LabelledImages, split: str) -> None:
    positives = int(part.label_n.sum())
    if not 0 < positives < len(part):
        raise TrialError(
            f"the {split} images: {len(part)}, of which {positives} are inpainted",
            "a detector needs both classes, to train on and to choose a threshold",
            "a set whose training and validation images contain both classes",
            "forge a set, or add images of the missing class",
            "data",
        )


def window_draws(part: LabelledImages, *of: str | int) -> Tensor | None:
    """Random numbers for a window of each photograph, drawn from `of` at once; None for images that are squares."""
    return torch.rand(len(part), DRAWS, generator=generator(*of)) if isinstance(part, NativeImages) else None


def windows(part: LabelledImages, index: Tensor, draw_n3: Tensor | None, side: int) -> LabelledImages:
    """Some images at the network's input size: of photographs the windows that were drawn."""
    if draw_n3 is None or not isinstance(part, NativeImages):
        return part.take(index)
    here = index.cpu()
    few = part.windows(here, draw_n3[here])
    return replace(few, image_n3hw=_seen(few.image_n3hw, side))


def fitted_on(data: DetectDataset) -> LabelledImages:
    """The training images of a detector that is fitted at once, not in epochs."""
    part = data.train
    if isinstance(part, NativeImages) and part.scanned:
        return windows(part, torch.arange(len(part)), window_draws(part, "windows"), data.side)
    return part


def _placed(part: LabelledImages, side: int, device: torch.device, scanned: bool) -> LabelledImages:
    columns: dict[str, Any] = {name: getattr(part, name).to(device) for name in ("mask_n1hw", "label_n", "box_n4")}
    if isinstance(part, NativeImages):
        columns["scanned"] = scanned
    return replace(part, image_n3hw=_seen(part.image_n3hw.to(device), side), **columns)


def _seen(image_n3hw: Tensor, side: int) -> Tensor:
    """uint8 images at the network's input size."""
    if image_n3hw.shape[2] == side or not len(image_n3hw):
        return image_n3hw
    parts = [
        resize(part.float(), side).round().clamp(0, 255).to(torch.uint8)
        for part in torch.split(image_n3hw, RESIZED_AT_ONCE)
    ]
    return torch.cat(parts)
