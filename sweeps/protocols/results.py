"""What results say of the protocol of a sweep: sentences for tables, and whether two sweeps were rated alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweeps.errors import SweepError
from sweeps.protocols.identity import differences
from sweeps.results import columns

Section = Mapping[str, Any]
"""The resolved `protocol` section of a configuration: name, hash, folders, evaluation."""
TESTED = ("images", "pixels", "masks")
"""What a result says of the images that were rated: their number, and checksums of all images and masks."""


def tested(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The different sets of images on which results were rated; one, if there is a result and nothing went wrong."""
    found: list[dict[str, Any]] = []
    for result in results:
        facts = (result.get("facts") or {}).get("protocol")
        one = {key: facts.get(key) for key in TESTED} if isinstance(facts, Mapping) else {}
        if isinstance(one.get("images"), int) and one not in found:
            found.append(one)
    return found


def named(section: Section) -> str:
    """'lama-thick-256, hash 3e244c842c3cc9f0'."""
    return f"{section['name']}, hash {section['hash']}"


def notes(section: Section | None, results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences for every table of a sweep; none without a protocol."""
    if section is None:
        return []
    sets = tested(results)
    images = f" on {sets[0]['images']:,} images" if len(sets) == 1 else ""
    found = [f"Columns “on protocol” are rated{images} by protocol {named(section)}."]
    published = section.get("published_images")
    if published and sets and sets[0]["images"] != published:
        found.append(f"The published tables are of {published:,} images, and do not compare with these columns.")
    if len(sets) > 1:
        words = "; ".join(f"{one['images']:,} images {one['pixels']} with masks {one['masks']}" for one in sets)
        found.append(
            f"NOT COMPARABLE: the trials were rated on different images (checksums: {words}), and arms of different "
            "images are not ranked together. If photographs have changed, `sweeps run FILE --retrain-stale` trains and "
            "rates the older trials again; else machines have other versions of Pillow or OpenCV."
        )
    return found


def mixed(
    names: Sequence[str],
    sections: Sequence[Section | None],
    results: Sequence[Iterable[Mapping[str, Any]]],
    metrics: Iterable[str],
    mix: bool,
) -> list[str]:
    """What two sweeps differ in whose columns of a protocol are about to be compared; nothing if they were rated alike.

    names, sections, results: of both sweeps. metrics: the columns that are compared. SweepError, which names the fields
    that differ, unless `mix`.
    """
    before, after = sections
    if before is None or after is None or not any(map(columns.on_protocol, metrics)):
        return []
    sets = [tested(of_sweep) for of_sweep in results]
    identities: list[dict[str, Any]] = [dict(before["evaluation"]), dict(after["evaluation"])]
    if all(sets):
        for identity, of_sweep in zip(identities, sets, strict=True):
            identity["tested"] = {key: _one([one[key] for one in of_sweep]) for key in TESTED}
    different = differences(*identities)
    if different and not mix:
        raise SweepError(
            f"{names[0]} and {names[1]}",
            f"they were rated by protocol {named(before)} and {named(after)}, which differ in {'; '.join(different)}",
            "sweeps of one protocol on the same images",
            "rate both under one protocol; --mix prints them all the same, with the difference in the note",
        )
    return [f"NOT COMPARABLE: {names[0]} and {names[1]} differ in {'; '.join(different)}."] if different else []


def _one(values: Sequence[Any]) -> Any:
    """The value of all, or the sorted list of different ones."""
    return values[0] if len(values) == 1 else sorted(values, key=str)
