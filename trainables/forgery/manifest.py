"""The files that complete a forged set once all its shards exist: `index.json`, `card.md` and `done.json`."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainables.data.image_files import LEFT_OUT, with_reasons
from trainables.data.splits import SPLITS
from trainables.errors import TrialError
from trainables.forgery import data_card, near_duplicates
from trainables.forgery.config import forged_id
from trainables.forgery.forged_index import fingerprint

VERSION = 1
"""Version of the file format."""
LISTED = 10_000
"""Largest number of near-duplicate pairs that the index lists; the count covers all."""


class ShardLike(Protocol):
    """The properties of a shard that are needed here."""

    @property
    def name(self) -> str: ...

    @property
    def of(self) -> int: ...


def check_skipped(skipped: Sequence[Mapping[str, str]], of: int, kept: str = "") -> None:
    """Raise TrialError if more than 1 % of `of` photographs were left out; it names the first twenty.

    kept: what need not be made again, for the error.
    """
    if len(skipped) <= LEFT_OUT * of:
        return
    raise TrialError(
        f"images: {len(skipped):,} of {of:,} photographs cannot be used",
        with_reasons({each["source"]: each["why"] for each in skipped}),
        f"at most {LEFT_OUT:.0%} unusable photographs, which are left out and counted",
        "replace or remove these files, then run the same command again" + (f": {kept} are kept" if kept else ""),
        "images",
    )


def finish(resolved: Mapping[str, Any], shards: Sequence[ShardLike], indices: Mapping[str, Any]) -> dict[str, bytes]:
    """`index.json`, `card.md` and `done.json`, to be written in this order.

    indices: the content of the `.json` file of every shard, by the shard's name.

    Raises TrialError if too many photographs were left out.
    """
    of_shards = {shard.name: indices[shard.name] for shard in shards}
    rows = [{"shard": name, **row} for name, each in of_shards.items() for row in each["rows"]]
    skipped = [entry for each in of_shards.values() for entry in each["skipped"]]
    check_skipped(skipped, max((shard.of for shard in shards), default=0), "finished shards")
    pairs = _near_duplicates(rows)
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    index = _json({"rows": columns, "near_duplicates": pairs[:LISTED]})
    files = {name: {key: each[key] for key in ("sha256", "bytes")} for name, each in of_shards.items()}
    done = {
        "version": VERSION,
        "id": forged_id(resolved),
        "size": resolved["images"]["size"],
        "counts": {split: _counted(rows, "kind", split) for split in SPLITS},
        "inpainters": _counted(rows, "inpainter"),
        "photographs": {split: len({row["source"] for row in rows if row["split"] == split}) for split in SPLITS},
        "skipped": skipped,
        "near_duplicates": {"pairs": len(pairs), "distance": near_duplicates.DISTANCE},
        "shards": files,
        "index_sha256": hashlib.sha256(index).hexdigest(),
        "fingerprint": fingerprint(files),
    }
    card = data_card.card_text(resolved, done, pairs)
    return {"index.json": index, "card.md": card.encode(), "done.json": _json(done)}


def _near_duplicates(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pairs of photographs in different splits, the nearest first."""
    photographs = {(row["split"], row["place"]): row for row in rows}
    of_split = {split: [row for (part, _), row in photographs.items() if part == split] for split in SPLITS}
    near = near_duplicates.find_across_splits(
        {split: [row["phash"] for row in some] for split, some in of_split.items()}
    )
    pairs = [
        {
            "splits": [one, other],
            "sources": [of_split[one][a]["source"], of_split[other][b]["source"]],
            "distance": bits,
        }
        for one, a, other, b, bits in near
    ]
    return sorted(pairs, key=lambda pair: pair["distance"])


def _counted(rows: Sequence[Mapping[str, Any]], column: str, split: str | None = None) -> dict[str, int]:
    values = Counter(row[column] for row in rows if split in (None, row["split"]))
    return {str(value): count for value, count in sorted(values.items()) if value}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
