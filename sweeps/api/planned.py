"""A plan that shows itself in a notebook: which trials are done, and what the others cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.api import display
from sweeps.spec.plan import Plan
from sweeps.wording import count

if TYPE_CHECKING:
    from sweeps.spec.trial import Trial
    from sweeps.store.base import Store


@dataclass(frozen=True)
class SweepPlan(Plan):
    """The plan of a sweep, and the store that it was planned for."""

    store: Store | None = None
    """None: no store, so no trial is done."""

    def _repr_html_(self) -> str:
        """Its arms with their trials, the trials that are left, and their cost."""
        heads = ["arm", "set", "seeds", "trial"]
        rows = [
            (arm.name, display.changes(arm.changes), ", ".join(map(str, arm.trials)), _ids(arm.trials))
            for arm in self.arms
        ]
        return display.block(self.name, display.text(*self._work(), *self.notes), display.table(heads, rows))

    def _work(self) -> list[str]:
        """Sentences on the trials that are done and left."""
        from cluster.driver import cost_measurement, driver, pending_work
        from sweeps.errors import SweepError
        from sweeps.run_options import RunOptions
        from trainables import schema

        trials = len(self.runs())
        if self.store is None:
            return [f"{count(trials, 'trial')}; plan it with a store to see which are done."]
        try:
            work = pending_work.work_left(self, self.store, schema)
            where = driver.chosen_address(self, RunOptions())
            cost = None if work.nothing else cost_measurement.estimate(work, self.store, where, None, False)
        except SweepError as error:  # the store is away: the plan itself can still be shown
            return [f"{count(trials, 'trial')}; {error.given}: {error.why}"]
        failed = f", {len(work.failed)} failed" if work.failed else ""
        searches = f"; {len(work.searches)} searches are not finished" if work.searches else ""
        counts = f"{work.done} of {count(trials, 'trial')} done, {len(work.to_train)} to run{failed}{searches}."
        if cost is None:
            return [counts, "Nothing to run."]
        epochs = f"{'Up to ' if cost.most else ''}{count(cost.epochs, 'epoch')} left"
        known = cost.computing_s or not cost.unknown
        return [counts, f"{epochs}; {f'about {cost.wall_s:.0f} s ({cost.where})' if known else 'time unknown'}."]


def _ids(trials: Mapping[int, Trial]) -> str:
    return " ".join(dict.fromkeys(trial.id for trial in trials.values())) or "not known before the search"
