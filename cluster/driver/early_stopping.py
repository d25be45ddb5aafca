"""Early stopping of a search's trials by Ray Tune's ASHA or median rule, one instance per searched arm.

Only the decisions of these schedulers are used, outside Tune's event loop. So the rules work in-process and on a
cluster, they never see planned trials, and a new driver can restore their state: it consists of (trial, epoch, value),
which the store has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.spec.sections.search import EarlyStoppingSpec
from trainables.training.session import Row


class _Trial:
    """The part of a Tune trial that the rules read."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


class _NoController:
    """Stands in for Tune's controller. There are never paused trials to yield to."""

    def get_live_trials(self) -> list[Any]:
        return []


class EarlyStopping:
    """Decides after each epoch whether a trial continues.

    metric, goal: the column, and 'max' or 'min'. epochs: the target epoch; a trial that has reached it is never
    stopped.
    """

    def __init__(self, rule: EarlyStoppingSpec, metric: str, goal: str, epochs: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

        self._metric, self._epochs = metric, epochs
        self._trials: dict[str, _Trial] = {}
        self._last: dict[str, int] = {}
        common = {"time_attr": "epoch", "metric": metric, "mode": goal, "grace_period": rule.grace_epochs}
        self._rule: Any = None
        if rule.name == "asha" and rule.grace_epochs <= epochs:
            # ASHA stops every trial that reaches max_t, so max_t is above the target epoch.
            self._rule = AsyncHyperBandScheduler(max_t=epochs + 1, reduction_factor=rule.reduction_factor, **common)
        elif rule.name == "median":
            self._rule = MedianStoppingRule(**common)

    def stops(self, trial_id: str, row: Row | Mapping[str, float]) -> bool:
        """Add a record and return whether the trial must stop. A record that was added before changes nothing."""
        epoch = int(row["epoch"])
        if self._rule is None or epoch <= self._last.get(trial_id, 0) or self._metric not in row:
            return False
        self._last[trial_id] = epoch
        if trial_id not in self._trials:
            self._trials[trial_id] = _Trial(trial_id)
            self._rule.on_trial_add(_NoController(), self._trials[trial_id])
        decision = self._rule.on_trial_result(_NoController(), self._trials[trial_id], dict(row))
        return bool(decision == "STOP") and epoch < self._epochs

    def replay(self, curves: Mapping[str, Mapping[int, float]]) -> set[str]:
        """Add what other drivers recorded: {trial: {epoch: value}}, those of suggestions with an outcome first.

        Returns the trials that must stop at the last epoch of their curve: a driver that was killed may have decided
        this without storing it.
        """
        stopped = set()
        for trial_id, curve in curves.items():
            for epoch, value in sorted(curve.items()):
                if self.stops(trial_id, {"epoch": epoch, self._metric: value}) and epoch == max(curve):
                    stopped.add(trial_id)
        return stopped
