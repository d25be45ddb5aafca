"""Verbs that use what was trained: forge a set, predict for an image, export a network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.verbs import common

if TYPE_CHECKING:
    from sweeps.store import Store


def forge(options: argparse.Namespace) -> int:
    """Make the set of a forge file, or go on with it."""
    from cluster import forging, inputs

    store = common.store(options)
    resolved = _forge_block(options.file, store)
    set_id = forging.ensure(store, resolved, Path(options.data).resolve() if options.data else None, options.quiet)
    if not options.quiet:
        done = json.loads(store.get(inputs.set_key(set_id, inputs.DONE)))
        print(f"forged set {set_id}")
        for split, counts in done["counts"].items():
            print(f"{split:6} {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        pairs = done["near_duplicates"]["pairs"]
        print(f"near duplicates across splits: {pairs:,} pairs{'; index.json lists them' if pairs else ''}")
        if done["skipped"]:
            print(f"left out, as they could not be used: {len(done['skipped']):,}; done.json names them")
        print(f"lies in {store.uri}/{inputs.set_key(set_id)}, with its data card: card.md")
    return common.DONE


def _forge_block(file: Path, store: Store) -> dict[str, Any]:
    """The resolved block in a forge file; what it takes from sweeps is read as in a sweep file."""
    from sweeps import dependencies, document
    from sweeps.spec import Sweep
    from trainables import schema_forge

    source = document.read(file)
    place: document.Place = ("base", "data", "forged")
    source.value = {"name": file.stem, "task": "detect", "base": {"data": {"forged": source.value}}}
    source.origins = {(*place, *at): origin for at, origin in source.origins.items()}
    pinned = dependencies.pin(Sweep(source), file.parent, store)
    for key, trial in pinned.pins.items():
        print(f"{key} is trial {trial}")
    return schema_forge.resolve_forge(pinned.spec.base["data"]["forged"])
