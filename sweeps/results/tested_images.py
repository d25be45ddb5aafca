"""Which test images and masks the metrics of a configuration are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.results import columns
from sweeps.spec.trial import canonical

UNTESTED = ("train", "val", "train_on", "augment", "input_size", "fold", "captions")
"""Data options that do not change the test images."""


def tested_images(config: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """A text that is equal for configurations whose metrics are about the same test images and masks.

    If all metrics are evaluated on `test_masks` or `test_sets`, these count instead of the configuration's own masks,
    or instead of its data and masks. A change of the own test images (`test_changes`) is not another set. If all are of
    the sweep's protocol, so does the protocol, which is rated on the own test images if it names no others.
    """
    protocol = config.get("protocol")
    if isinstance(protocol, Mapping) and "hash" in protocol and all(map(columns.on_protocol, metrics)):
        images = protocol.get("images") or _test_data(config)
        return canonical([protocol["hash"], protocol.get("masks"), images])
    labels = [columns.on_masks(metric) or "" for metric in metrics]
    elsewhere = all(labels)
    other, sets = config.get("test_masks"), config.get("test_sets")
    on_sets = sets and all(any(label == one or label.startswith(f"{one}_") for one in sets) for label in labels)
    return canonical([sets] if on_sets else [_test_data(config), other if elsewhere else config.get("mask")])


def _test_data(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.get("data", {}).items() if key not in UNTESTED}
