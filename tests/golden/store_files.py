"""What the files of a store say of a sweep, as records that can be compared.

Records are {block: {key: value}}: a block for each arm and seed, or for each suggestion of a search.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.results import samples
from sweeps.store import layout

Records = dict[str, dict[str, Any]]
NEWER = ("image_scores.npz",)
"""Files that the records do not have: what is in them is in columns and in `per_image.npz`, too."""
DIGEST = "sha256 of "
"""What the keys begin with whose values are equal where all bits are, and say nothing where they are not."""


def read_json(path: Path) -> Any:
    return layout.load("", path.read_bytes())


def newest_plan(store: Path, sweep: str) -> dict[str, Any]:
    plan: dict[str, Any] = read_json(max((store / "sweeps" / sweep / "plans").iterdir()))
    return plan


def records(store: Path, sweep: str) -> Records:
    """Every finished trial of a sweep, and every suggestion of its searches."""
    found: Records = {}
    seen: set[str] = set()
    for arm in newest_plan(store, sweep)["arms"]:
        for seed, trial in arm["trials"].items():
            again = trial["id"] in seen  # a fill that does not learn is one trial for all seeds
            row = {"trial": trial["id"]} if again else _trial(store / "trials" / trial["id"], trial["epochs"])
            found[f"{arm['name']} | seed {seed}"] = row
            seen.add(trial["id"])
    for folder in sorted((store / "sweeps" / sweep / "search").glob("*")):
        for ask in sorted(folder.glob("*.ask.json")):
            found[f"{folder.name} | {ask.name[:4]}"] = _suggestion(ask)
    return found


def _trial(folder: Path, epochs: int) -> dict[str, Any]:
    """Facts, columns and digests of a finished trial. A trial of a folder outside the project has an id of its own."""
    result = read_json(folder / "result" / f"{epochs}.json")
    columns = {name: values for name, values in result["history"].items() if not name.startswith("sys/")}
    elsewhere = "path" in read_json(folder / "trial.json")["config"]["model"]
    named = {} if elsewhere else {"trial": folder.name}
    facts = {name: value for name, value in result["facts"].items() if name != "data_fingerprint"}
    images = {f"{DIGEST}images": result["facts"]["data_fingerprint"][:16]}
    return {**named, **facts, **columns, **images, **_digests(folder, epochs)}


def _digests(folder: Path, epochs: int) -> dict[str, str]:
    """Of the weights and optimisers, and of the pictures and values of single images, after the last epoch."""
    files = [path for kind in ("checkpoint", "samples") for path in folder.glob(f"{kind}/*/{epochs}/*")]
    newest = {path.name: path.read_bytes() for path in sorted(files)}
    newest |= samples.unpack(newest.get(samples.ARCHIVE, b""))
    kept = [name for name in newest if name.endswith((".pt", ".png", ".npz")) and name not in NEWER]
    named = [(name, newest[name]) for name in sorted(kept)]
    return {f"{DIGEST}{name}": _digest(name, data) for name, data in named}


def _digest(name: str, data: bytes) -> str:
    """Of what a file holds, not of how it is packed."""
    found = hashlib.sha256()
    for part in _parts(name, io.BytesIO(data)):
        found.update(part)
    return found.hexdigest()[:16]


def _parts(name: str, data: io.BytesIO) -> list[bytes]:
    if name.endswith(".pt"):
        import torch

        return _flat(torch.load(data, map_location="cpu", weights_only=True))
    if name.endswith(".npz"):
        with np.load(data, allow_pickle=False) as archive:
            return [part for name in archive.files for part in (name.encode(), archive[name].tobytes())]
    from PIL import Image

    with Image.open(data) as image:
        return [repr((image.mode, image.size)).encode(), image.tobytes()]


def _flat(value: Any) -> list[bytes]:
    """Names and bytes of everything in a checkpoint, in the order in which it is stored."""
    import torch

    if isinstance(value, dict):
        return [part for key, item in value.items() for part in (repr(key).encode(), *_flat(item))]
    if isinstance(value, list | tuple):
        return [part for item in value for part in _flat(item)]
    if isinstance(value, torch.Tensor):
        return [repr((value.dtype, tuple(value.shape))).encode(), value.contiguous().numpy().tobytes()]
    return [repr(value).encode()]


def _suggestion(ask: Path) -> dict[str, Any]:
    """What a search asked for, and what it was told."""
    asked = read_json(ask)
    told = read_json(ask.with_name(ask.name.replace(".ask.", ".tell.")))
    trials = read_json(ask.with_name(ask.name.replace(".ask.", ".trials.")))
    return {
        "params": asked["params"],
        "overrides": asked["overrides"],
        "trials": trials,
        "state": told["state"],
        "values": told["values"],
        "intermediate": told["intermediate"],
    }
