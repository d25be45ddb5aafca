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
    or instead of its data and masks.
    """
    elsewhere = all(columns.on_masks(metric) for metric in metrics)
    data = {key: value for key, value in config.get("data", {}).items() if key not in UNTESTED}
    other, sets = config.get("test_masks"), config.get("test_sets")
    return canonical([sets] if elsewhere and sets else [data, other if elsewhere else config.get("mask")])
