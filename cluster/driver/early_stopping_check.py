"""Would early stopping have ended the trial that was best in the end? Told from curves that are in the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.driver.early_stopping import EarlyStopping
from sweeps.results.columns import EPOCH, describe
from sweeps.results.cost import Recorded
from sweeps.spec.schema import SearchFileSpec
from sweeps.spec.trial import canonical

FEWEST = 3
"""Curves below which nothing is said."""


def warnings(
    spec: SearchFileSpec, task: str, config: Mapping[str, Any], known: Sequence[Recorded], label: str
) -> list[str]:
    """A warning where the rule of this search would have ended the best of the recorded trials of the same model.

    Complete curves with the same data and masks are replayed one after the other as they began, each until the rule
    ends it; the best one comes last, which is the worst that can befall it in a search that runs side by side.
    """
    epochs = int(config["epochs"])
    if spec.early_stopping.name == "none" or not epochs or len(spec.metrics) > 1:
        return []
    curves = _curves(spec.metrics[0], task, config, known, epochs)
    if len(curves) < max(FEWEST, math.ceil(spec.early_stopping.reduction_factor)):
        return []
    sign = 1 if spec.goals[0] == "max" else -1
    best = max(curves, key=lambda trial: sign * curves[trial][epochs])
    rule = EarlyStopping(spec.early_stopping, spec.metrics[0], spec.goals[0], epochs)
    for trial in [*(trial for trial in curves if trial != best), best]:
        ended = _ends_at(rule, trial, curves[trial], spec.metrics[0])
    if ended is None:
        return []
    unit = describe(spec.metrics[0])[0]
    value = f"{curves[best][epochs]:.4g} {unit}".rstrip()
    then = f"{curves[best][ended]:.4g} {unit}".rstrip()
    return [
        f"early stopping can discard the winner of the search of {label!r}: of {len(curves)} recorded trials of "
        f"{config['model']['name']}, the best at epoch {epochs} ({best}, {spec.metrics[0]} {value}) had {then} at "
        f"epoch {ended}, where {spec.early_stopping.name} would have ended it had it come last; raise "
        f"early_stopping.grace_epochs above {ended}, or name: none"
    ]


def _curves(
    metric: str, task: str, config: Mapping[str, Any], known: Sequence[Recorded], epochs: int
) -> dict[str, dict[int, float]]:
    """The metric by epoch of each trial that can be compared and has all epochs, in the order in which they began."""
    found = {}
    for trial in sorted(known, key=lambda r: (r.result.get("started_at") or 0, r.trial_id)):
        history = trial.result["history"]
        pairs = zip(history[EPOCH], history.get(metric, []), strict=False)
        curve = {int(epoch): float(value) for epoch, value in pairs if value is not None and epoch <= epochs}
        if _comparable(trial.task, trial.config) == _comparable(task, config) and len(curve) == epochs:
            found[trial.trial_id] = curve
    return found


def _comparable(task: str, config: Mapping[str, Any]) -> str:
    return canonical([task, config["model"]["name"], config.get("data"), config.get("mask")])


def _ends_at(rule: EarlyStopping, trial: str, curve: Mapping[int, float], metric: str) -> int | None:
    """The epoch at which a rule ends a trial, which it hears of no further; None where it does not."""
    for epoch, value in sorted(curve.items()):
        if rule.stops(trial, {EPOCH: epoch, metric: value}):
            return epoch
    return None
