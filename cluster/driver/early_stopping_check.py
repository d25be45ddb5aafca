"""Checks on stored curves whether early stopping would have ended the trial that was best in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.driver.early_stopping import EarlyStopping
from sweeps.results.columns import EPOCH, describe
from sweeps.results.cost import TimedTrial, learner_name
from sweeps.spec.sections.search import SearchFileSpec
from sweeps.spec.trial import canonical

FEWEST = 3
"""Minimum number of curves; with fewer there is no warning."""


def warnings(
    spec: SearchFileSpec, task: str, config: Mapping[str, Any], known: Sequence[TimedTrial], label: str
) -> list[str]:
    """Warn if the stopping rule of this search would have ended the best recorded trial of the same model.

    Complete curves with the same data and masks are replayed in the order in which they began, each until the rule
    ends it. The best one comes last, which is its worst case in a search with concurrent trials.
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
        f"{learner_name(config)}, the best at epoch {epochs} ({best}, {spec.metrics[0]} {value}) had {then} at "
        f"epoch {ended}, where {spec.early_stopping.name} would have ended it if it had started last; raise "
        f"early_stopping.grace_epochs above {ended}, or set early_stopping.name: none"
    ]


def _curves(
    metric: str, task: str, config: Mapping[str, Any], known: Sequence[TimedTrial], epochs: int
) -> dict[str, dict[int, float]]:
    """The metric by epoch of each comparable trial with all epochs, in the order in which the trials began."""
    curves = {}
    for trial in sorted(known, key=lambda r: (r.result.get("started_at") or 0, r.trial_id)):
        history = trial.result["history"]
        pairs = zip(history[EPOCH], history.get(metric, []), strict=False)
        curve = {int(epoch): float(value) for epoch, value in pairs if value is not None and epoch <= epochs}
        if _comparable(trial.task, trial.config) == _comparable(task, config) and len(curve) == epochs:
            curves[trial.trial_id] = curve
    return curves


def _comparable(task: str, config: Mapping[str, Any]) -> str:
    return canonical([task, learner_name(config), config.get("code_hash"), config.get("data"), config.get("mask")])


def _ends_at(rule: EarlyStopping, trial: str, curve: Mapping[int, float], metric: str) -> int | None:
    """The epoch at which the rule ends a trial, or None. The rule does not see later epochs."""
    for epoch, value in sorted(curve.items()):
        if rule.stops(trial, {EPOCH: epoch, metric: value}):
            return epoch
    return None
