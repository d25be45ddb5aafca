"""A checkpoint as files: `state.pt` (the learner's state), `history.json`, `best.pt` (the best weights so far).

That of a last epoch that is still to be rated has the final files of the task, too, as `final-<name>`.

Files are read with `weights_only=True`, so a checkpoint cannot execute code.
"""

from __future__ import annotations

import io
import json
import textwrap
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainables.errors import TrialError
from trainables.match.text_encoder import TextEncoder, Vocabulary
from trainables.training.session import Row

State = dict[str, Any]
_FINAL = "final-"
PLAIN = (int, float, bool, str, bytes, type(None), torch.Size, torch.dtype, torch.device)
"""Types of the values that a checkpoint can have besides tensors and containers; their subclasses are not read back."""


def pack(
    state: State, history: list[Row], best: State | None, final_files: Mapping[str, bytes] = MappingProxyType({})
) -> dict[str, bytes]:
    """The files of a checkpoint.

    best: weights of the best epoch so far; None if there is none. final_files: of the task, after the last epoch.
    """
    files = {"state.pt": _to_bytes(state), "history.json": json.dumps(history, allow_nan=False).encode()}
    files |= {f"{_FINAL}{name}": data for name, data in final_files.items()}
    return files if best is None else {**files, "best.pt": _to_bytes(best)}


def final_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The task's final files in a checkpoint; empty in one of an earlier epoch."""
    return {name.removeprefix(_FINAL): data for name, data in files.items() if name.startswith(_FINAL)}


def unpack(files: Mapping[str, bytes]) -> tuple[State, list[Row], State | None]:
    """The inverse of `pack`; tensors on the CPU."""
    best = _from_bytes(files["best.pt"]) if "best.pt" in files else None
    return _from_bytes(files["state.pt"]), json.loads(files["history.json"]), best


def not_plain(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value inside that is neither a tensor nor plain data, with its keys."""
    if isinstance(value, Tensor) or type(value) in PLAIN:
        return
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            yield from () if type(key) in PLAIN else [(f"{path}[{key!r}]", key)]
            yield from not_plain(item, f"{path}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield from not_plain(item, f"{path}[{index}]")
    else:
        yield path, value


class Restorable(Protocol):
    """The part of `trainables.training.loop.Learner` that a checkpoint needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def load_state(learner: Restorable, state: State, epoch: int) -> None:
    """Restore a learner. Raises TrialError if its network has other tensors than the one that was saved.

    A trial's id contains its configuration but no code, so the network can have changed since the checkpoint.

    epoch: the epoch after which the checkpoint was written, for the error.
    """
    try:
        learner.load_state_dict(state)
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise TrialError(
            f"the checkpoint after epoch {epoch}",
            f"its tensors do not fit the network: {textwrap.shorten(str(error), 300)}",
            "a checkpoint of the network as this version builds it",
            "train the trial from its start: sweeps run FILE --fresh",
        ) from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a network. Raises TrialError with the names of tensors that do not fit.

    what: where the weights come from, for the error.
    """
    for name, part in network.named_modules():
        packed = weights.get(f"{name}.packed")
        if isinstance(part, TextEncoder) and packed is not None:
            part.set_vocabulary(Vocabulary.unpacked(packed))  # the embedding then has as many rows as the trained one
    wanted = network.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in weights]
    wrong += [f"the network has no {name}" for name in weights if name not in wanted]
    wrong += [
        f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise TrialError(
            what,
            "the weights do not fit the network: " + "; ".join(wrong[:5]) + more,
            f"the {len(wanted)} tensors of the network",
            "give weights that were trained with the same configuration",
        )
    network.load_state_dict(dict(weights))


def _to_bytes(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _from_bytes(data: bytes) -> State:
    state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
