"""Compares a plan with a store: which trials are left to train or to measure, and which searches have not ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

from cluster.driver import arm_choice
from cluster.driver.queue.trial_queue import Job
from sweeps.results import missing_metrics, progress, untested_epochs
from sweeps.run_options import RunOptions
from sweeps.search.arm_search import ArmSearch, with_tuned_arms
from sweeps.search.status import failure_of
from sweeps.spec.plan import Plan, Schema
from sweeps.store import record_cache
from sweeps.store.base import Store

MEASURED = "a run measures the trained networks, without training"


@dataclass(frozen=True)
class PendingWork:
    """What a plan has left to run."""

    plan: Plan
    """The plan, with the arms that finished searches have added."""
    jobs: list[Job]
    """Trials to run, and finished ones to measure."""
    cached: int
    """Number of trials that were finished before and are not measured."""
    failed: list[Job]
    """Trials that failed before; they run again only with `retry`."""
    searches: list[ArmSearch]
    """Searches that are not done."""
    continued: str = ""
    """A sentence on an unfinished run with `--fresh` that this one continues; empty if there is none."""
    failures: tuple[str, ...] = ()
    """Why searches that have ended have no result, a sentence each."""
    left_out: int = 0
    """Number of trials that are not done and belong to arms that `--arms` or `--skip-arms` leaves out."""
    stale: str = ""
    """On finished trials that other code than today's, or different data, have made, and on those that are trained
    again for other metrics; empty if nobody looked."""
    lost: tuple[Job, ...] = ()
    """Finished trials with metrics that are missing and cannot be measured, since the store lacks the network."""
    untested: frozenset[tuple[str, int]] = frozenset()
    """Finished trials without test values at epochs that the report asks for, as (id, target epoch)."""

    @property
    def to_train(self) -> list[Job]:
        """Trials to run."""
        return [job for job in self.jobs if not job.missing]

    @property
    def to_measure(self) -> list[Job]:
        """Finished trials whose networks are measured by metrics that they lack, without training."""
        return [job for job in self.jobs if job.missing]

    @property
    def done(self) -> int:
        """Number of trials that were finished before."""
        return self.cached + len(self.to_measure)

    @property
    def incomplete(self) -> str:
        """Sentences on finished trials that lack metrics or tests; empty if there are none."""
        measured = missing_metrics.sentence([job.missing for job in self.to_measure], MEASURED)
        lost = missing_metrics.sentence([job.missing for job in self.lost], missing_metrics.TRAIN_AGAIN)
        return " ".join(filter(None, [measured, lost, untested_epochs.sentence(len(self.untested))]))

    @property
    def nothing(self) -> bool:
        return not self.jobs and not self.searches


def work_left(
    plan: Plan, store: Store, schema: Schema, retry: bool = False, copied: record_cache.CachedStore | None = None
) -> PendingWork:
    """Compare a plan with the store. A finished trial costs at most one look-up of a key.

    copied: the store as it has been read just now, so that no result is read again.
    """
    tunings = [ArmSearch(store, plan, arm, schema, time.time) for arm in plan.searched]
    if retry:
        for tuning in tunings:
            tuning.search.forget_failures()
    plan_with_tuned = with_tuned_arms(plan, {tuning.arm.name: tuning.best() for tuning in tunings}, schema)
    left = trials_left(plan_with_tuned, copied or record_cache.cached(store, plan.name), retry)
    ended = [tuning for tuning in tunings if tuning.search.done]
    failures = (failure_of(store, plan.name, tuning.arm.name, tuning.search.asks()) for tuning in ended)
    pending = [tuning for tuning in tunings if not tuning.search.done]
    return PendingWork(
        plan_with_tuned,
        left.jobs,
        left.cached,
        left.failed,
        pending,
        failures=tuple(filter(None, failures)),
        lost=left.lost,
        untested=left.untested,
    )


def narrowed(work: PendingWork, options: RunOptions) -> PendingWork:
    """The part of the work that belongs to the arms which `--arms` and `--skip-arms` choose."""
    if not options.arms and not options.skip_arms:
        return work
    chosen = {(trial.id, trial.epochs) for trial, _ in arm_choice.part(work.plan, options).runs()}
    jobs, failed, lost = ([job for job in jobs if job.trial in chosen] for jobs in (work.jobs, work.failed, work.lost))
    return replace(
        work,
        jobs=jobs,
        cached=work.cached + len(work.to_measure) - sum(bool(job.missing) for job in jobs),
        failed=failed,
        searches=[tuning for tuning in work.searches if arm_choice.searches(work.plan, options, tuning.arm)],
        left_out=len(work.to_train) - sum(not job.missing for job in jobs),
        lost=tuple(lost),
        untested=work.untested & chosen,
    )


class TrialsLeft(NamedTuple):
    """The trials of a plan by what they need, see `PendingWork`."""

    jobs: list[Job]
    cached: int
    failed: list[Job]
    lost: tuple[Job, ...]
    untested: frozenset[tuple[str, int]]


def trials_left(plan: Plan, copied: record_cache.CachedStore, retry: bool) -> TrialsLeft:
    """The trials of a plan that the store lacks, those that failed, and finished ones that lack metrics.

    retry: run those that failed before again.
    """
    runs = plan.runs()
    states = record_cache.states_of(copied, progress.by_trial((trial.id, trial.epochs) for trial, _ in runs))
    jobs: list[Job] = []
    failed: list[Job] = []
    done: dict[tuple[str, int], str] = {}
    for trial, label in runs:
        state = states[trial.id].at(trial.epochs)
        if state == "done":
            done[trial.id, trial.epochs] = label
        else:
            (failed if state == "failed" and not retry else jobs).append(Job(trial.id, trial.epochs, label))
    report = plan.sweep.spec.report
    found = missing_metrics.of_trials(copied, done, missing_metrics.asked(report.extra))
    able = missing_metrics.measurable(copied, found)
    lacking = [Job(*trial, done[trial], names) for trial, names in found.items()]
    jobs += [job for job in lacking if job.trial in able]
    lost = tuple(job for job in lacking if job.trial not in able)
    untested = frozenset(untested_epochs.of_trials(copied, done, report.test_epochs, report.at))
    return TrialsLeft(jobs, len(runs) - len(jobs) - len(failed), failed, lost, untested)
