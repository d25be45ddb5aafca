"""What a user's task gets beside its options: seed, device, data, the epochs to train, and what is kept of it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trainables.errors import TrialError
from trainables.training.loop import derive
from trainables.training.loop import generator as seeded
from trainables.training.session import Machine


class Context:
    """What `train` gets."""

    seed: int
    """The seed of the trial; the same in every arm."""
    device: str
    """`cuda:0` or the like, or `cpu`."""
    data: Path | None
    """The data root (--data, $SWEEPS_DATA); None if it is not set."""
    cpus: int
    """CPU threads of the trial; torch is set to them."""
    epochs: Iterator[int]
    """The epochs to train: 1, 2, ...; after a checkpoint, those that are left. Each seeds `random`, numpy and torch."""
    last_epoch: int
    """The last epoch. A file that declares `extend = True` must not let results depend on it."""
    log: Callable[[str], None]
    """Adds a line to the log of the trial (`sweeps show TRIAL`)."""

    def __init__(self, config: Mapping[str, Any], machine: Machine, restored: Mapping[str, Any] | None) -> None:
        """restored: the state of a checkpoint, see `state`; None for a fresh start."""
        self.seed, self.device, self.cpus = config["seed"], machine.device, machine.cpus
        self.data, self.log = machine.data_root, machine.log
        self.last_epoch = config["epochs"]
        self.epoch = restored["epoch"] if restored else 0
        """The epoch that is being trained; 0 before the first one."""
        self.pictures: dict[str, bytes] = {}
        """PNG files by name, see `picture`."""
        self._kept: dict[str, Any] = {}
        self._restored: Mapping[str, Any] | None = restored["kept"] if restored else None
        self._begun = False
        self.epochs = self._epochs()
        self._draw("start")

    def keep(self, **objects: Any) -> None:
        """Store objects in every checkpoint, and restore them if the trial continues from one.

        objects: by name: networks, optimisers and everything with `state_dict` and `load_state_dict`, or a dict of
        plain data and tensors, which is filled in place. Call it before the loop over `epochs`. The networks among them
        are those whose parameters count.
        """
        for name, one in objects.items():
            if not isinstance(one, dict) and not _has_state(one):
                raise _error(
                    f"keep({name}=...)",
                    f"it is of type {type(one).__name__}, which has no `state_dict` and `load_state_dict`",
                    "networks, optimisers, schedulers, and dicts of plain data and tensors",
                    f'keep({name}={{"value": ...}}), a dict that is changed in place',
                )
            if name in self._kept or self._begun:
                why = "the name is taken" if name in self._kept else "the first epoch has begun"
                raise _error(f"keep({name}=...)", why, "one call for each name, before the loop over epochs", "move it")
            self._kept[name] = one
            if self._restored is not None and name in self._restored:
                _restore(one, self._restored[name])

    def generator(self, *parts: int | str) -> torch.Generator:
        """A generator on the CPU for the trial's seed and `parts`, such as a purpose and the epoch."""
        return seeded(self.seed, *parts)

    def picture(self, name: str, image: Tensor) -> None:
        """Show an image (3, h, w) or (1, h, w) in [0, 1] in report and dashboard, in place of the last `name`."""
        if not isinstance(image, Tensor) or image.dim() != 3 or image.shape[0] not in (1, 3):
            shape = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise _error(f"picture({name!r}, {shape})", "it is no image", "a tensor (3, h, w) or (1, h, w)", "image[0]")
        values = image.detach().float().clamp(0, 1).mul(255).round().byte().expand(3, -1, -1).permute(1, 2, 0)
        buffer = io.BytesIO()
        Image.fromarray(values.cpu().numpy()).save(buffer, "PNG")
        self.pictures[f"{name}.png"] = buffer.getvalue()

    # --- for the learner ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state of everything that is kept, after the epoch of the last record."""
        kept = {name: one if isinstance(one, dict) else one.state_dict() for name, one in self._kept.items()}
        return {"epoch": self.epoch, "kept": kept}

    def networks(self) -> dict[str, nn.Module]:
        """The networks that are kept, by name."""
        return {name: one for name, one in self._kept.items() if isinstance(one, nn.Module)}

    def _epochs(self) -> Iterator[int]:
        self._begun = True
        if self._restored is not None and self._restored.keys() != self._kept.keys():
            raise _error(
                f"a checkpoint with {', '.join(self._restored) or 'nothing'}",
                f"`train` keeps {', '.join(self._kept) or 'nothing'}",
                "the same names in context.keep whenever a trial starts",
                "call context.keep with all names before the loop over epochs",
            )
        self._restored = None
        for epoch in range(self.epoch + 1, self.last_epoch + 1):
            self.epoch = epoch
            self._draw("epoch", epoch)
            yield epoch

    def _draw(self, *parts: int | str) -> None:
        """Seed the random numbers of this process, so that a trial that continues draws the same ones."""
        seed = derive(self.seed, *parts)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)


def _has_state(one: Any) -> bool:
    return callable(getattr(one, "state_dict", None)) and callable(getattr(one, "load_state_dict", None))


def _restore(one: Any, state: Any) -> None:
    if isinstance(one, dict):
        one.clear()
        one.update(state)
    else:
        one.load_state_dict(state)


def _error(given: str, why: str, allowed: str, fix: str) -> TrialError:
    return TrialError(f"context.{given}", why, allowed, fix, "task")
