"""A sentence on the size of a study that was run below full size, for every table and verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from analysis import wording
from sweeps import sizes


def size_sentence(plan: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> str:
    """The size of a stored plan with images, epochs, width, seeds and device; empty at full size.

    results: of the finished trials, which record the device and the number of images
    """
    size = sizes.size_of(plan)
    if size == sizes.FULL:
        return ""
    sources = [result.get("provenance") or {} for result in results]
    configs = [arm["config"] for arm in plan["arms"] if arm.get("trains", True)] or [plan["arms"][0]["config"]]
    images = [(source.get("images") or {}).get("train") for source in sources]
    images = images if any(images) else [_section(config, "data").get("train") for config in configs]
    facts = [
        _range(images, lambda text: f"{text} training images"),
        _range((config.get("epochs") for config in configs), lambda text: f"{text} epochs"),
        _range((_section(config, "model").get("width") for config in configs), lambda text: f"width {text}"),
        wording.count(len(plan["seeds"]), "seed"),
        wording.listing(sorted({_device(source) for source in sources if source.get("hardware")})),
    ]
    return f"Run at {size} size: {', '.join(filter(None, facts))}. A result at this size need not hold at full size."


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, Mapping) else {}


def _range(values: Iterable[Any], words: Callable[[str], str]) -> str:
    """'4,000', or '16 to 32' where arms differ; empty if no arm has a number."""
    known = sorted({value for value in values if type(value) is int and value})
    return words(" to ".join(f"{value:,}" for value in dict.fromkeys([known[0], known[-1]]))) if known else ""


def _device(source: Mapping[str, Any]) -> str:
    hardware = source["hardware"]
    if hardware.get("gpu"):
        return f"on {hardware['gpu']}"
    return f"on {wording.count(int(source.get('cpus') or 1), 'CPU thread')}"
