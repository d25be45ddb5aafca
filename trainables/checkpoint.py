"""A checkpoint as files: `state.pt` (what the learner needs to go on), `history.json`, `best.pt` (best weights so far).

Weights are read with `weights_only=True`; nothing here can execute what somebody else wrote.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch

from trainables.session import Row

State = dict[str, Any]


def pack(state: State, history: list[Row], best: State | None) -> dict[str, bytes]:
    """The files of a checkpoint. best: weights of the best epoch where that is not the last one."""
    files = {"state.pt": _to_bytes(state), "history.json": json.dumps(history, allow_nan=False).encode()}
    return files if best is None else {**files, "best.pt": _to_bytes(best)}


def unpack(files: Mapping[str, bytes]) -> tuple[State, list[Row], State | None]:
    """The inverse of `pack`; tensors on the CPU."""
    best = _from_bytes(files["best.pt"]) if "best.pt" in files else None
    return _from_bytes(files["state.pt"]), json.loads(files["history.json"]), best


def _to_bytes(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _from_bytes(data: bytes) -> State:
    state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
