"""What a claim compares: the arms that it names, and the values by seed of the two columns of one arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.study import Study

Claim = Mapping[str, Any]
_ARM_KEYS = ("better", "not_worse", "than", "improves", "settles", "arm", "over", "fails")
"""Keys of a claim that name one arm."""


def claimed_arms(claim: Claim) -> list[str]:
    """All arms that a claim names."""
    singles = [claim[key] for key in _ARM_KEYS if key in claim]
    return [*singles, *claim.get("equal", []), *claim.get("order", [])]


def of_one_arm(study: Study, claim: Claim) -> tuple[dict[int, float], dict[int, float]]:
    """The two sides of a claim with `above` or `like`, by seed.

    `above` a column: its values, with `over` the shares gained over that arm; a number: itself. `like`: the ratio of
    the two columns, and 1.
    """
    arm, metric, epoch = claim["arm"], claim["metric"], claim.get("epoch")
    if "like" in claim:
        here, there = study.values(arm, metric, epoch), study.values(arm, claim["like"], epoch)
        ratios = {seed: here[seed] / there[seed] for seed in here if there.get(seed)}
        return ratios, dict.fromkeys(ratios, 1.0)
    if isinstance(claim["above"], str):
        return _gained(study, claim, metric), _gained(study, claim, claim["above"])
    here = study.values(arm, metric, epoch)
    return here, dict.fromkeys(here, float(claim["above"]))


def _gained(study: Study, claim: Claim, column: str) -> dict[int, float]:
    """A column of the claim's arm by seed; with `over`, the share of the way from that arm to 1."""
    values = study.values(claim["arm"], column, claim.get("epoch"))
    if "over" not in claim:
        return values
    floor = study.values(claim["over"], column, claim.get("epoch"))
    return {
        seed: (value - floor[seed]) / (1 - floor[seed])
        for seed, value in values.items()
        if seed in floor and floor[seed] < 1
    }
