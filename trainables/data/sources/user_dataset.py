"""A user's data set: a class with items, or a function that returns an object with items, such as a torch `Dataset`.

If it takes `split`, it is made once for each of train, val and test. Otherwise all its items are split 80/10/10 by a
hash of their indices. The order within a split is that of a hash of the index, so that a subset is no single class of a
sorted data set. Items become squares like the files of a folder.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainables import registry
from trainables.code.signatures import place
from trainables.config.code_checks import described
from trainables.config.sections import SourceConfig
from trainables.data.sources.folders import square
from trainables.data.splits import SPLITS, Pixels, hash_order, no_objects_error, split_by_hash
from trainables.errors import TrialError

ITEM = "a PIL image, a tensor (3, h, w) as uint8 or in [0, 1], or an array (h, w, 3) as uint8; or a tuple with it first"


class UserSource:
    """The data set of a section whose name is that of a user's code."""

    more = ""

    def __init__(self, section: SourceConfig, root: Path | None, size: int | None) -> None:
        code = registry.find("dataset", section.name)
        self._make, self._inputs = code.function(), code.inputs
        self._options = {key: getattr(section, key) for key in code.config.model_fields}
        self._given = {"root": root, "size": size}
        self.what = f"the data set {described(self._make)}"
        self._lock = threading.Lock()
        self._parts: dict[str, tuple[Any, Sequence[int]]] = {}

    def verify(self) -> None:
        """Read the first item of each split, twice: items must not change."""
        for split in SPLITS:
            if self.count(split):
                index = self._order(split)[0]
                first, again = (np.asarray(self._image(split, index)) for _ in range(2))
                if not np.array_equal(first, again):
                    raise self._error(
                        f"item {index} of {split} is another image each time",
                        "items that never change: all trials share them",
                        "remove random changes, and use `data.augment` for the training images",
                    )
                self._pixels(split, index, 32)

    def count(self, split: str) -> int:
        return len(self._order(split))

    def take(self, split: str, count: int, size: int) -> Tensor:
        images = torch.empty((count, 3, size, size), dtype=torch.uint8)
        for place_in, index in enumerate(self._order(split)[:count]):
            images[place_in] = torch.from_numpy(self._pixels(split, index, size)).permute(2, 0, 1)
        return images

    def names(self, split: str, start: int, stop: int) -> list[str]:
        """`train/7` is item 7 of the data set made for training, `7` that of one without splits."""
        prefix = f"{split}/" if "split" in self._inputs else ""
        return [f"{prefix}{index}" for index in self._order(split)[start:stop]]

    def read(self, split: str, start: int, stop: int, size: int, threads: int) -> Iterator[Pixels | TrialError]:
        """One by one, whatever `threads`: the user's code may not be made for several."""
        for index in self._order(split)[start:stop]:
            yield self._pixels(split, index, size)

    def classes(self, split: str, start: int, stop: int) -> list[str]:
        raise TrialError(
            f"data.captions.template with {self.what}",
            "a data set of your own has no class names",
            "a captions file or folder",
            "captions: {file: captions.txt}, with image name, tab, caption in each line",
            "data.captions",
        )

    def objects(self, split: str, count: int, size: int) -> Tensor:
        raise no_objects_error(self.what)

    # --- items --------------------------------------------------------------------------------------------------------

    def _part(self, split: str) -> tuple[Any, Sequence[int]]:
        """The object that has the items of a split, and their indices in the order in which they are taken."""
        with self._lock:
            if split not in self._parts:
                items = self._built(split)
                count = self._length(items, split)
                if "split" in self._inputs:
                    self._parts[split] = items, hash_order(count)
                else:
                    self._parts |= {part: (items, self._share(part, count)) for part in SPLITS}
            return self._parts[split]

    def _order(self, split: str) -> Sequence[int]:
        return self._part(split)[1]

    def _share(self, split: str, count: int) -> list[int]:
        """The indices of a split of a data set that does not take `split`."""
        share = [index for index in hash_order(count) if split_by_hash(str(index)) == split]
        if not share:
            raise self._error(
                f"its {count} items leave none for {split}",
                "about 80, 10 and 10 % of the items are for train, val and test, by a hash of their indices",
                "add items, or take a parameter `split` and return those of train, val or test",
            )
        return share

    def _built(self, split: str) -> Any:
        inputs = {key: {**self._given, "split": split}[key] for key in self._inputs}
        try:
            return self._make(**inputs, **self._options)
        except TrialError:
            raise
        except Exception as error:
            raise self._raised(error, "making it") from error

    def _length(self, items: Any, split: str) -> int:
        if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
            raise self._error(
                f"{type(items).__name__} has no `__len__` and `__getitem__`",
                "a torch Dataset with both, or a list of images",
                "return list(items), if they fit into memory",
            )
        try:
            count = len(items)
        except Exception as error:
            raise self._raised(error, "its length") from error
        if not count:
            raise self._error(
                f"it has no items{f' for {split}' if 'split' in self._inputs else ''}",
                "at least one image in each of train, val and test",
                "correct the path or the condition by which it chooses its items",
            )
        return count

    def _image(self, split: str, index: int) -> Image.Image | Tensor:
        """An item as an image, or as a tensor (3, h, w) of uint8."""
        try:
            item = self._part(split)[0][index]
        except TrialError:
            raise
        except Exception as error:
            raise self._raised(error, f"item {index} of {split}") from error
        image = item[0] if isinstance(item, tuple | list) and item else item
        if isinstance(image, Image.Image):
            return image
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        problem, fix = _problem(image)
        if problem:
            raise self._error(f"item {index} of {split} {problem}", ITEM, fix)
        pixels_3hw: Tensor = image.detach().cpu()
        return pixels_3hw if pixels_3hw.dtype == torch.uint8 else pixels_3hw.mul(255).round().to(torch.uint8)

    def _pixels(self, split: str, index: int, size: int) -> Pixels:
        image = self._image(split, index)
        if isinstance(image, Tensor):
            pixels_hw3 = image.permute(1, 2, 0).contiguous().numpy()
            if pixels_hw3.shape[:2] == (size, size):
                return pixels_hw3
            image = Image.fromarray(pixels_hw3)
        return square(image, size)

    def _raised(self, error: Exception, doing: str) -> TrialError:
        why = f"{doing} raised {type(error).__name__}: {error} ({place(error, described(self._make))})"
        return self._error(
            why, "a data set that can be read on every machine that trains", "read the item in a Python shell"
        )

    def _error(self, why: str, allowed: str, fix: str) -> TrialError:
        return TrialError(f"data.name: {described(self._make)}", why, allowed, fix, "data.name")


def _problem(image: Any) -> tuple[str, str]:
    """(why something is no image, what to do instead); '' for both if it is one."""
    if not isinstance(image, Tensor):
        kind = f"an array {image.shape} of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        return f"is {kind}", "return torch.from_numpy(pixels).permute(2, 0, 1), with pixels (h, w, 3) of uint8"
    if image.dim() != 3 or image.shape[0] != 3 or not image.numel():
        grey = image.dim() == 3 and image.shape[0] == 1
        return f"is a tensor {tuple(image.shape)}", "image.expand(3, -1, -1)" if grey else "image.permute(2, 0, 1)"
    if image.dtype == torch.uint8:
        return "", ""
    if not image.is_floating_point():
        return f"is a tensor of {image.dtype}", "image.to(torch.uint8), for values from 0 to 255"
    if not image.isfinite().all():
        return "has NaN or infinity", "correct the data, or leave the item out"
    low, high = image.min().item(), image.max().item()
    if low < 0 or high > 1:
        return f"has values from {low:.3g} to {high:.3g}", "image.clamp(0, 1), or undo its normalisation"
    return "", ""
