"""Under which conditions the arms were trained and tested: data, masks and holes, asked and measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from analysis import wording
from analysis.report.sections import details
from analysis.study import Study
from sweeps.protocols import results as protocol_results
from sweeps.results import columns

FEW_IMAGES = 100
"""With fewer test images, a report describes these images rather than the method."""
_USUAL_HOLES = (0.01, 0.7)
"""Usual shares of holes of a mask that asks for none."""
_HOLES_MARGIN = 0.25
"""How far a measured share of holes may lie outside of what is asked, relative to it: edges of pixels round it."""


def conditions(study: Study) -> details.Pairs:
    """The baseline's configuration by section, which applies to every arm unless the arm changes it."""
    config = study.arm(study.baseline).config
    shown = {key: value for key, value in config.items() if key not in ("model", "epochs", "protocol")}
    pairs = [(key, details.words_of(value)) for key, value in shown.items() if value is not None]
    if unused := [key for key, value in shown.items() if value is None]:
        pairs.append(("not used", ", ".join(unused)))
    pairs.append(
        ("epochs", details.words_of(config["epochs"])) if config.get("epochs") else ("epochs", "none: no training")
    )
    if study.protocol:
        pairs.append(("protocol", protocol_results.named(study.protocol)))
    holes = [f"{100 * value:.1f} %" for value in sorted(set(_hole_fractions(study)))]
    if holes:
        by_arm = f" to {holes[-1]}, depending on the arm," if len(set(holes)) > 1 else ""
        asked = _asked_words(config.get("mask") or {})
        pairs.append(("hole fraction", f"{asked}{holes[0]}{by_arm} of the pixels of the test images, measured"))
    if splits := _splits(study):
        pairs.append(("images", splits))
    return [*pairs, ("reported", study.at_epoch()), ("baseline", study.baseline)]


def _asked_words(mask: Mapping[str, Any]) -> str:
    """'25 to 30 % asked, '; of a mask that asks for no share: nothing."""
    asked = _asked_holes(mask)
    if asked is None:
        return ""
    low, high = (f"{100 * end:g}" for end in asked)
    return f"{low if low == high else f'{low} to {high}'} % asked; "


def _splits(study: Study) -> str:
    """Number of images in each split, as the trials found them: '4,000 train, 500 val, 1,000 test'."""
    found = [source.get("images") or {} for result in study.results.values() if (source := result.get("provenance"))]
    return details.tally(
        ", ".join(f"{count:,} {split}" for split, count in images.items()) for images in found if images
    )


def _hole_fractions(study: Study) -> Iterator[float]:
    for name in study.names:
        yield from (round(value, 6) for value in study.values(name, "test/hole_fraction").values())


def few_test_images(study: Study) -> list[str]:
    """A caption sentence if some results were tested on few images."""
    if study.protocol and all(map(columns.on_protocol, study.metrics)):
        counts = sorted({one["images"] for one in protocol_results.tested(study.results.values())})
    else:
        sources = [result.get("provenance") or {} for result in study.results.values()]
        counts = sorted({(source.get("images") or {}).get("test", FEW_IMAGES) for source in sources})
    few = [str(count) for count in counts if count < FEW_IMAGES]
    if not few:
        return []
    return [
        f"Tested on {wording.listing(few)} images: with fewer than {FEW_IMAGES}, the figures describe these images, "
        "not the method."
    ]


def unexpected_holes(study: Study) -> list[str]:
    """A caption sentence for arms whose test masks cover far more or less of the images than one would expect."""
    arms: dict[str, list[str]] = {}
    for name in study.names:
        measured = study.values(name, "test/hole_fraction")
        if not measured:
            continue
        asked = _asked_holes(study.arm(name).config.get("mask") or {})
        low, high = _USUAL_HOLES if asked is None else (asked[0] * (1 - _HOLES_MARGIN), asked[1] * (1 + _HOLES_MARGIN))
        mean = statistics.mean(measured.values())
        if not low <= mean <= high:
            expected = (
                "1 to 70 %" if asked is None else f"the {100 * asked[0]:g} to {100 * asked[1]:g} % of `mask.fraction`"
            )
            arms.setdefault(f"{100 * mean:.1f} % of the pixels of the test images, not {expected}", []).append(name)
    return [
        f"Holes cover {words} ({wording.listing(wording.quoted(one) for one in few)})." for words, few in arms.items()
    ]


def _asked_holes(mask: Mapping[str, Any]) -> tuple[float, float] | None:
    """The lowest and highest share of the image that a mask section asks for; None if it asks for none."""
    asked = mask.get("fraction")
    ends: list[Any] = asked if isinstance(asked, list) and len(asked) == 2 else [asked, asked]
    return (ends[0], ends[1]) if all(type(end) in (int, float) for end in ends) else None
