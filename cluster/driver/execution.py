"""Execute a plan: check it, store it, forge the sets that it needs, run its trials."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from cluster.driver import arm_choice, driver, forging, fresh_run, pending_work, planned_data
from cluster.driver.pending_work import PendingWork
from cluster.driver.queue.trial_queue import Job, ProgressListener
from cluster.worker import inputs, stale_code
from cluster.worker.stale_code import StaleCode
from sweeps import scratch
from sweeps.results import check_unchanged, progress
from sweeps.results.older_code import retrained_for_metrics
from sweeps.run_options import RunOptions
from sweeps.spec.plan import Plan
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.layout import Json
from sweeps.store.record_cache import CachedStore
from trainables import schema


@dataclass(frozen=True)
class RunResult:
    """The state of a sweep after a run."""

    stored: Json
    """The plan as the store holds it, with the arms that searches added."""
    left: PendingWork
    """Trials and searches of the chosen arms that are not done."""
    unmeasured: frozenset[str] = frozenset()
    """The finished trials that could not be measured, by id."""

    @property
    def ended(self) -> bool:
        """Whether the same command has nothing to add: what is left has failed."""
        failed = all(job.trial_id in self.unmeasured for job in self.left.to_measure)
        return not self.left.to_train and not self.left.searches and failed

    @property
    def complete(self) -> bool:
        """Whether every trial of the chosen arms is done and every search has a result."""
        return self.left.nothing and not self.left.failed and not self.left.failures


class RunEvents(Protocol):
    """Receives the progress of a run."""

    quiet: bool
    """Whether the progress bars of forged sets are hidden."""

    def dependency(self, plan: Plan) -> None:
        """A sweep is run because the requested one takes trials from it."""

    def notes(self, plan: Plan) -> None:
        """The trials of the requested sweep are known; `plan.notes` holds remarks on its file."""

    def planned(self, work: PendingWork) -> None:
        """The plan is stored, and the trials that the store lacks are known."""

    def progress(self, total: int, cached: int, metric: str) -> contextlib.AbstractContextManager[ProgressListener]:
        """The context in which trials run; it gives the listener of the trials.

        total: trials of the plan. cached: those that were done before. metric: the column whose best value matters.
        """

    def finished(self, result: RunResult, store: Store) -> None:
        """A sweep has ended; also called for each dependency."""


class NoEvents:
    """Ignores all events of a run and of its trials."""

    quiet = True

    def dependency(self, plan: Plan) -> None: ...

    def notes(self, plan: Plan) -> None: ...

    def planned(self, work: PendingWork) -> None: ...

    def progress(self, total: int, cached: int, metric: str) -> contextlib.AbstractContextManager[ProgressListener]:
        return contextlib.nullcontext(self)

    def finished(self, result: RunResult, store: Store) -> None: ...

    def added(self, jobs: Sequence[Job]) -> None: ...

    def started(self, job: Job) -> None: ...

    def record(self, job: Job, row: dict[str, Any]) -> None: ...

    def ended(self, job: Job, state: str) -> None: ...


def execute_plan(
    plan: Plan, store: Store, options: RunOptions, events: RunEvents, whole: Plan | None = None
) -> RunResult:
    """Check a plan, store it, forge the sets that it needs and run the trials that the store lacks.

    whole: the plan with all seeds that looks can add to this one; `--fresh` deletes their results too.
    """
    options = options.started()
    scratch.remove_abandoned()
    before = stored_plans.newest_plan(store, plan.name)
    if not options.replace:
        check_unchanged.refuse_changed_arms(before, plan, store)
        check_unchanged.refuse_other_values(before, plan)
    chosen = arm_choice.part(plan, options)
    copied, data = _read(chosen, store, options)
    if not (options.fresh or options.retrain_stale or options.accept_changed_data):
        data.refuse_changes(store)
    if data.outdated and (options.fresh or options.retrain_stale) and not options.accept_changed_data:
        _check(chosen, store, options)  # before anything is deleted
        for outdated in data.outdated.values():
            forging.make_again(store, outdated.block, options.local_data_root, events.quiet)
        copied, data = _read(chosen, store, options)
    continued = ""
    if options.fresh:
        _check(chosen, store, options)  # before anything is deleted
        continued = fresh_run.delete_results(arm_choice.part(whole or plan, options), store)
        copied, data = _read(chosen, store, options)
    stale = StaleCode({}, 0) if before is None else stale_code.find(copied, before)
    if options.retrain_stale and (stale.trials or data.trials):
        _check(chosen, store, options)
        driver.forget(chosen, store, {*data.trials, *(trial for trial, _ in stale.trials)})
        stale = StaleCode({}, 0)
        copied, data = _read(chosen, store, options)
    work = pending_work.narrowed(pending_work.work_left(plan, store, schema, options.retry, copied), options)
    again = retrained_for_metrics(copied, before, plan)
    notes = " ".join(filter(None, [stale.sentence, *data.mixed, again]))
    work = replace(work, continued=continued, stale=notes)
    if work.nothing:
        copied.refresh()
    else:
        _check(arm_choice.part(work.plan, options), store, options)  # before anything is written
        planned_data.check_leaks(work, store, options.local_data_root, options.accept_leaks)
    data.settle(store)
    stored = driver.write(work.plan, store, options.command)
    driver.restore(work.plan, work.jobs, store)
    events.planned(work)
    left = work
    if not work.nothing:
        if not options.out_of_time:
            forging.prepare(work, store, options.local_data_root, events.quiet)
        with events.progress(len(work.jobs) + work.cached, work.cached, _progress_metric(plan)) as listener:
            driver.run(work, store, schema, options, listener, data=data.digests)
        stored = stored_plans.newest_plan(store, plan.name) or stored
        left = pending_work.narrowed(pending_work.work_left(plan, store, schema), options)
    measured = [job.trial_id for job in left.to_measure]
    result = RunResult(stored, left, frozenset(progress.newest_errors(store, measured)) if measured else frozenset())
    if result.complete and whole is None:
        fresh_run.end(plan, store)
    events.finished(result, store)
    return result


def _read(plan: Plan, store: Store, options: RunOptions) -> tuple[CachedStore, planned_data.PlannedData]:
    """A new view of a store, which has nothing cached, and the data that the trials of a plan read."""
    copied = CachedStore(store, plan.name)
    return copied, planned_data.look(plan, copied, options.local_data_root)


def _check(plan: Plan, store: Store, options: RunOptions) -> None:
    """Raise a SweepError if trials of a plan cannot run here, or if they need other trials that have not finished."""
    driver.check(plan, options)
    inputs.check(plan, store)


def _progress_metric(plan: Plan) -> str:
    """The metric of the search, otherwise the first metric of the report on validation images."""
    search = plan.sweep.spec.search
    return search.metrics[0] if search else plan.sweep.spec.report.metrics[0].replace("test/", "val/")
