"""Forges a set into a folder as a driver does: shard by shard, without repeating finished shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainables.forgery import shards as forged_shards
from trainables.forgery.config import resolve_forge
from trainables.inpaint.inference import LoadTrained


def forge(
    block: dict[str, Any],
    folder: Path,
    data_root: Path,
    trained: LoadTrained | None = None,
    order: Sequence[int] | None = None,
    threads: int = 2,
) -> dict[str, Any]:
    """Forge a set and return the resolved block.

    order: numbers of the shards to make, without finishing the set; None: make all shards and finish.
    """
    resolved = resolve_forge(block)
    shards = forged_shards.plan_shards(resolved, data_root)
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(resolved))
    for number in range(len(shards)) if order is None else order:
        if not (folder / shards[number].files[1]).exists():
            for name, content in forged_shards.make_shard(
                resolved, shards[number], data_root, trained, "cpu", threads
            ).items():
                (folder / name).write_bytes(content)
    if order is None:
        indices = {shard.name: json.loads((folder / shard.files[1]).read_bytes()) for shard in shards}
        for name, content in forged_shards.finish(resolved, shards, indices).items():
            (folder / name).write_bytes(content)
    return resolved
