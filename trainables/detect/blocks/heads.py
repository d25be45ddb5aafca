"""What stands on a detector's trunk: label, label and box, or a mask from which both follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.detect.output import Found

CENTRAL = (0.25, 0.25, 0.75, 0.75)
"""The box that an untrained network begins with: linear outputs near 0 would be a box without area."""
WIDTH = 64
"""Channels of the decoder."""
TOP = 0.01
"""Share of the pixels, the surest ones, whose mean logit is the label's logit where the head is a mask."""


class Vector(nn.Module):
    """One linear layer on the trunk's features: the label's logit and, if asked for, four linear corners, as in 000."""

    def __init__(self, features: int, box: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 5 if box else 1)
        if box:
            with torch.no_grad():
                self.linear.bias[1:] = torch.tensor(CENTRAL, device=self.linear.bias.device)

    def forward(self, feature_bf: Tensor) -> Found:
        output = self.linear(feature_bf)
        return Found(output[:, 0], output[:, 1:] if output.shape[1] > 1 else None, None, feature_bf)


@dataclass(frozen=True)
class Level:
    """A module of the trunk whose output is the last one of its side."""

    module: str
    channels: int
    side: int
    channels_last: bool


class Decoder(nn.Module):
    """From the coarsest maps to the finest: each is projected and added to what came before, enlarged to its size."""

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        self.levels = levels
        self.lateral = nn.ModuleList(nn.Conv2d(level.channels, WIDTH, 1) for level in levels)
        self.smooth = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in levels)
        self.last = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, maps: list[Tensor], size: int) -> Found:
        """maps: of `levels`, as the trunk gave them. The label is the mean logit of the surest pixels."""
        x: Tensor | None = None
        for level, lateral, smooth, raw in zip(self.levels, self.lateral, self.smooth, maps, strict=True):
            new = lateral(raw.permute(0, 3, 1, 2) if level.channels_last else raw)
            x = new if x is None else new + F.interpolate(x, new.shape[2:], mode="nearest")
            x = smooth(x).relu()
        assert x is not None
        mask_logit = F.interpolate(self.last(x), (size, size), mode="bilinear", align_corners=False)
        top = max(1, round(TOP * size * size))
        return Found(mask_logit.flatten(1).topk(top, 1).values.mean(1), None, mask_logit, x.mean((2, 3)))


def levels_of(trunk: nn.Module, image_b3hw: Tensor) -> tuple[list[Level], list[str]]:
    """(the last module of each side of maps, the coarsest first; the linear layers on what has no sides any more).

    b must be above 1: it tells maps from parts of them. Of a module that is called again, the last call counts.
    """
    last: dict[str, Level] = {}
    flat: list[str] = []
    b, _, size, _ = image_b3hw.shape

    def note(name: str, module: nn.Module, output: object) -> None:
        if isinstance(module, nn.Linear) and isinstance(output, Tensor) and output.dim() == 2:
            flat.append(name)
        last.pop(name, None)  # so that it stands where it was called last
        if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[0] != b:
            return
        _, second, third, fourth = output.shape
        if third == fourth and third <= size:
            last[name] = Level(name, second, third, False)
        elif second == third <= size:
            last[name] = Level(name, fourth, second, True)

    hooks = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: note(name, module, output))
        for name, module in trunk.named_modules()
        if name
    ]
    training = trunk.training
    with torch.no_grad():
        trunk.eval()(image_b3hw)
    trunk.train(training)
    for hook in hooks:
        hook.remove()
    found = {level.side: level for level in last.values()}
    return [found[side] for side in sorted(found)], flat


class Tap:
    """Keeps what some modules of a trunk put out in one forward pass."""

    def __init__(self, trunk: nn.Module, levels: list[Level]) -> None:
        self._maps: dict[str, Tensor] = {}
        self._names = [level.module for level in levels]
        for name in self._names:
            trunk.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: self._maps.__setitem__(name, output)
            )

    @contextmanager
    def maps(self) -> Iterator[list[Tensor]]:
        """The maps of the pass that was just made; they are let go of afterwards."""
        try:
            yield [self._maps[name] for name in self._names]
        finally:
            self._maps.clear()


class Headed(nn.Module):
    """A trunk that gives features (b, f), and a head on it. Images are in [0, 1]; `prepared` is what the trunk sees."""

    def __init__(self, trunk: nn.Module, features: int, head: str, size: int, inputs: int = 3) -> None:
        super().__init__()
        self.trunk = trunk
        self.size = size
        self.head: Vector | Decoder
        self._tap: Tap | None = None
        if head == "mask":
            device = next(trunk.parameters()).device
            levels, flat = levels_of(trunk, torch.zeros(2, inputs, size, size, device=device))
            for name in flat:  # a classifier's hidden layers, which no mask needs
                trunk.set_submodule(name, nn.Identity())
            self.head, self._tap = Decoder(levels), Tap(trunk, levels)
        else:
            self.head = Vector(features, head == "box")

    def prepared(self, image_b3hw: Tensor) -> Tensor:
        return image_b3hw

    def forward(self, image_b3hw: Tensor) -> Found:
        """What it says of images of its size."""
        feature_bf = self.trunk(self.prepared(image_b3hw))
        if self._tap is None:
            said: Found = self.head(feature_bf)
            return said
        with self._tap.maps() as maps:
            found: Found = self.head(maps, image_b3hw.shape[2])
            return found
