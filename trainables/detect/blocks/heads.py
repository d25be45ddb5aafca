"""Heads of detectors: label, label and box, or a mask from which both are derived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.detect.output import DetectorOutput

CENTRAL = (0.25, 0.25, 0.75, 0.75)
"""Initial box of an untrained network: outputs near 0 would be a box without area."""
WIDTH = 64
"""Channels of the decoder."""
TOP = 0.01
"""Mask head: the label's logit is the mean over this share of the pixels, those with the highest logits."""


class VectorHead(nn.Module):
    """One linear layer on the trunk's features: the label's logit and, with `box`, four corners, as in document 000."""

    def __init__(self, features: int, box: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 5 if box else 1)
        if box:
            with torch.no_grad():
                self.linear.bias[1:] = torch.tensor(CENTRAL, device=self.linear.bias.device)

    def forward(self, feature_bf: Tensor) -> DetectorOutput:
        output = self.linear(feature_bf)
        return DetectorOutput(output[:, 0], output[:, 1:] if output.shape[1] > 1 else None, None, feature_bf)


@dataclass(frozen=True)
class TrunkLevel:
    """The last module of the trunk that outputs maps of one size."""

    module: str
    """Name of the module in the trunk."""
    channels: int
    """Channels of its output."""
    side: int
    """Side of its output, px."""
    channels_last: bool
    """Whether its output is (b, side, side, channels)."""


class MaskDecoder(nn.Module):
    """Decode maps from the coarsest to the finest: project each and add the upsampled result of the previous one."""

    def __init__(self, levels: list[TrunkLevel]) -> None:
        super().__init__()
        self.levels = levels
        self.lateral = nn.ModuleList(nn.Conv2d(level.channels, WIDTH, 1) for level in levels)
        self.smooth = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in levels)
        self.last = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, maps: list[Tensor], size: int) -> DetectorOutput:
        """Predict a mask, and the label from its highest logits. maps: outputs of the trunk at `levels`."""
        x: Tensor | None = None
        for level, lateral, smooth, raw in zip(self.levels, self.lateral, self.smooth, maps, strict=True):
            new = lateral(raw.permute(0, 3, 1, 2) if level.channels_last else raw)
            x = new if x is None else new + F.interpolate(x, new.shape[2:], mode="nearest")
            x = smooth(x).relu()
        assert x is not None
        mask_logit = F.interpolate(self.last(x), (size, size), mode="bilinear", align_corners=False)
        top = max(1, round(TOP * size * size))
        return DetectorOutput(mask_logit.flatten(1).topk(top, 1).values.mean(1), None, mask_logit, x.mean((2, 3)))


def levels_of(trunk: nn.Module, image_b3hw: Tensor) -> tuple[list[TrunkLevel], list[str]]:
    """(the last module for each size of maps, the coarsest first; the linear layers on flattened features).

    b must be above 1, to distinguish batches of maps from outputs with another leading dimension. For a module that is
    called several times, the last call counts.
    """
    last: dict[str, TrunkLevel] = {}
    flat: list[str] = []
    b, _, size, _ = image_b3hw.shape

    def note(name: str, module: nn.Module, output: object) -> None:
        if isinstance(module, nn.Linear) and isinstance(output, Tensor) and output.dim() == 2:
            flat.append(name)
        last.pop(name, None)  # so that its place is that of its last call
        if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[0] != b:
            return
        _, second, third, fourth = output.shape
        if third == fourth and third <= size:
            last[name] = TrunkLevel(name, second, third, False)
        elif second == third <= size:
            last[name] = TrunkLevel(name, fourth, second, True)

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
    by_side = {level.side: level for level in last.values()}
    return [by_side[side] for side in sorted(by_side)], flat


class FeatureTap:
    """Record the outputs of some modules of a trunk during a forward pass."""

    def __init__(self, trunk: nn.Module, levels: list[TrunkLevel]) -> None:
        self._maps: dict[str, Tensor] = {}
        self._names = [level.module for level in levels]
        for name in self._names:
            trunk.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: self._maps.__setitem__(name, output)
            )

    @contextmanager
    def maps(self) -> Iterator[list[Tensor]]:
        """Maps of the latest pass; they are released on exit."""
        try:
            yield [self._maps[name] for name in self._names]
        finally:
            self._maps.clear()


class TrunkWithHead(nn.Module):
    """A trunk that outputs features (b, f), and a head. Images are in [0, 1]; `prepared` makes the trunk's input."""

    def __init__(self, trunk: nn.Module, features: int, head: str, size: int, inputs: int = 3) -> None:
        super().__init__()
        self.trunk = trunk
        self.size = size
        self.head: VectorHead | MaskDecoder
        self._tap: FeatureTap | None = None
        if head == "mask":
            device = next(trunk.parameters()).device
            levels, flat = levels_of(trunk, torch.zeros(2, inputs, size, size, device=device))
            for name in flat:  # hidden layers of the classifier, which a mask head does not use
                trunk.set_submodule(name, nn.Identity())
            self.head, self._tap = MaskDecoder(levels), FeatureTap(trunk, levels)
        else:
            self.head = VectorHead(features, head == "box")

    def prepared(self, image_b3hw: Tensor) -> Tensor:
        return image_b3hw

    def forward(self, image_b3hw: Tensor) -> DetectorOutput:
        """Output for images of size `size`."""
        feature_bf = self.trunk(self.prepared(image_b3hw))
        if self._tap is None:
            vector: DetectorOutput = self.head(feature_bf)
            return vector
        with self._tap.maps() as maps:
            decoded: DetectorOutput = self.head(maps, image_b3hw.shape[2])
            return decoded
