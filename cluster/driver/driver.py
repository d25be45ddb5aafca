"""Run a plan: store it, run the trials that the store lacks, and stop on request."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cluster.connection import address as addresses
from cluster.connection import store_access
from cluster.driver import arm_choice
from cluster.driver.early_stopping import EarlyStopping
from cluster.driver.pending_work import PendingWork, trials_left
from cluster.driver.queue.leases import Leases
from cluster.driver.queue.trial_queue import Job, ProgressListener, SearchWork, TrialQueue
from cluster.worker import provenance, stale_code
from cluster.worker.user_code import store_code
from cluster.worker.worker import WorkerOptions
from sweeps.errors import StorageError, SweepError, Terminated
from sweeps.protocols import section as protocols
from sweeps.results import missing_metrics
from sweeps.results.columns import describe
from sweeps.run_options import RunOptions
from sweeps.search.arm_search import ArmSearch, with_tuned_arms
from sweeps.spec.plan import Plan, Schema
from sweeps.spec.sections.report import BEST
from sweeps.spec.sections.resources import Resources
from sweeps.store import layout, record_cache
from sweeps.store import plans as stored_plans
from sweeps.store import trials as stored_trials
from sweeps.store.base import Store
from sweeps.wording import count

if TYPE_CHECKING:
    from cluster.multi_worker.groups import Groups

IN_PROCESS = addresses.IN_PROCESS
LOOK_EVERY_S = 5.0
"""Seconds between two looks for stop requests while not all trials train; the heartbeats of those that do look too."""
_INTERRUPTS: dict[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
"""Signals that stop a run, and what it raises when it has stopped."""


def write(plan: Plan, store: Store, command: tuple[str, ...]) -> dict[str, Any]:
    """Store the plan and every trial in it. Returns the plan as stored."""
    chosen = [{"user_code": plan.code_of_choices}] if plan.code_of_choices else []
    store_code(store, plan.arms[0].task, [*(arm.config for arm in plan.arms), *chosen])
    stale_code.store_modules(store, plan.arms[0].task, (arm.config for arm in plan.arms))
    stored = stored_plans.write_plan(
        store, plan.name, plan.to_json(list(command)), plan.sweep.document.text, time.time()
    )
    stored_trials.write_trials(store, (trial for trial, _ in plan.runs()))
    return stored


def restore(plan: Plan, jobs: Iterable[Job], store: Store) -> None:
    """Write the damaged definitions of trials again that are about to run."""
    wanted = {job.trial_id for job in jobs}
    stored_trials.restore_trials(store, (trial for trial, _ in plan.runs() if trial.id in wanted))


def run(
    work: PendingWork,
    store: Store,
    schema: Schema,
    options: RunOptions,
    watch: ProgressListener,
    inputs: str | None = None,
    data: Mapping[str, str] | None = None,
) -> None:
    """Run what is left of a plan. Afterwards the store has the outcome of each trial.

    inputs, data: see `cluster.worker.worker.WorkerOptions`. `fresh` and `replace` of the options have no effect here.
    Raises KeyboardInterrupt after Ctrl-C, and Terminated after SIGTERM: when the running trials have ended, or at once
    after a second signal.
    """
    options = options.started()
    driver = _Driver(work, store, schema, options, watch, inputs, data or {})
    address = chosen_address(work.plan, options)
    with driver.interruptible():
        if address == IN_PROCESS:
            from cluster.runners import in_process

            in_process.run(driver.queue, driver.worker_options(_local_gpus()), driver.on_step)
        else:
            driver.on_step()
            if not driver.queue.finished:  # without time, no Ray is started
                _run_on_ray(driver, address, options)
    driver.on_step()
    record_cache.refresh(store, driver.plan.name)
    if driver.queue.storage_error is not None:
        raise driver.queue.storage_error
    if driver.interrupted is not None:
        raise driver.interrupted


def _run_on_ray(driver: _Driver, address: str, options: RunOptions) -> None:
    from cluster.connection import connection, head_watch, local_ray_watch, ray_messages
    from cluster.runners import ray_tune

    connection.connect(address)
    own = address == addresses.LOCAL
    if own:
        watch = local_ray_watch.watched(options.restart, options.deadline)
    else:
        watch = head_watch.watched(connection.head())
    messages = ray_messages.shortened(connection.logs())
    try:
        driver.on_step()
        if driver.queue.finished:
            return  # the start of Ray took the rest of the time
        worker_options = driver.worker_options(ray_tune.gpus_in_cluster(), connection.dashboard())
        resources = driver.plan.sweep.spec.resources
        fits = ray_tune.trials_at_once(resources, worker_options.gpus)
        if address != addresses.LOCAL and options.max_concurrent:
            fits = options.max_concurrent  # on an autoscaling cluster, the user knows how many will fit
        if not fits:
            raise too_large_error(resources, worker_options.gpus)
        at_once = min(fits, options.max_concurrent or fits)
        groups = driver.groups(worker_options, at_once) if resources.grouped else None
        try:
            with watch, messages:
                ray_tune.run(driver.queue, worker_options, at_once, driver.on_step, groups)
        finally:
            if groups is not None:
                groups.close()
    finally:
        connection.disconnect()


def too_large_error(resources: Resources, gpus: float) -> SweepError:
    """The error for a trial that does not fit on the cluster."""
    from cluster.runners import ray_tune

    least = resources.least_and_most[0]
    each = f"{count(resources.cpus, 'CPU')} and {gpus:g} GPU{'' if gpus == 1 else 's'}"
    fewer = "--set resources.gpus=0" if gpus and not ray_tune.gpus_in_cluster() else "--set resources.cpus=1"
    return SweepError(
        f"resources: {each} per {'process, ' + str(least) + ' processes per ' if least > 1 else ''}trial",
        "no node of the cluster has that many" if least == 1 else "the cluster does not have that many",
        ray_tune.largest_node(),
        f"lower `resources:` in the sweep file, or {fewer}; on an autoscaling cluster use "
        "--max-concurrent N with --set resources.gpus=1",
    )


class _Driver:
    """One run of a plan: its queue, the arms that its searches add, and the reasons to stop early."""

    def __init__(
        self,
        work: PendingWork,
        store: Store,
        schema: Schema,
        options: RunOptions,
        watch: ProgressListener,
        inputs: str | None,
        data: Mapping[str, str],
    ) -> None:
        self.plan, self.token = work.plan, uuid.uuid4().hex[:8]
        self.interrupted: type[KeyboardInterrupt] | None = None
        self._ending = False
        self._store, self._schema, self._options = store, schema, options
        self._inputs, self._data = inputs, data
        self._stops_seen = stored_plans.stop_requests(store, self.plan.name)
        self._groups: Groups | None = None
        self._looked = time.monotonic()
        searches = [self._search(tuning) for tuning in work.searches]
        failures = options.stop_after_failures
        self.queue = TrialQueue(store, work.jobs, watch, searches, failures=failures, on_stopped=self._look)

    def _search(self, tuning: ArmSearch) -> SearchWork:
        spec, epochs = tuning.spec, int(tuning.arm.config["epochs"])
        rule = EarlyStopping(spec.early_stopping, spec.metrics[0], spec.goals[0], epochs)
        return SearchWork(tuning, rule, on_done=lambda: self._on_search_done(tuning))

    def _on_search_done(self, tuning: ArmSearch) -> list[Job]:
        """Add the best configurations of a finished search as arms. Returns the jobs that these arms still need."""
        planned = {(trial.id, trial.epochs) for trial, _ in self.plan.runs()}
        self.plan = with_tuned_arms(self.plan, {tuning.arm.name: tuning.best()}, self._schema)
        write(self.plan, self._store, self._options.command)
        jobs = trials_left(self.plan, record_cache.CachedStore(self._store, self.plan.name), self._options.retry).jobs
        chosen = {(trial.id, trial.epochs) for trial, _ in arm_choice.part(self.plan, self._options).runs()}
        added = [job for job in jobs if job.trial in chosen - planned]
        restore(self.plan, added, self._store)
        return added

    def worker_options(self, gpus_available: float, ray_dashboard: str = "") -> WorkerOptions:
        report, resources = self.plan.sweep.spec.report, self.plan.sweep.spec.resources
        best = BEST.match(report.at)
        gpus = (1.0 if gpus_available >= 1 else 0.0) if resources.gpus == "auto" else float(resources.gpus)
        return WorkerOptions(
            store=self._store.uri,
            sweep=self.plan.name,
            run=self.token,
            stops_seen=self._stops_seen,
            data_root=None if self._options.data_root is None else str(self._options.data_root),
            cpus=resources.cpus,
            gpus=gpus,
            test_epochs=tuple(report.test_epochs),
            extra=missing_metrics.asked(report.extra),
            best=(best["column"], describe(best["column"])[1]) if best else None,
            checkpoint_s=self._options.checkpoint_every_s,
            code=provenance.code_version(),
            command=" ".join(self._options.command),
            ray_dashboard=ray_dashboard,
            inputs=self._inputs,
            data=self._data,
            accept_changed_data=self._options.accept_changed_data,
            deadline=self._options.deadline,
            store_access=store_access.of_driver(),
        )

    def groups(self, options: WorkerOptions, at_once: int) -> Groups:
        """Create the groups that train multi-worker trials."""
        from cluster.multi_worker.groups import Groups
        from cluster.multi_worker.trainer import GroupShape

        resources = self.plan.sweep.spec.resources
        least, most = resources.least_and_most
        workers = most if least == most else (least, most)
        size = f"{most}x{options.gpus:g}gpu" if options.gpus else f"{most}x{options.cpus}cpu"
        shape = GroupShape(f"{self.plan.name}-{size}-{self.token}", workers, options.cpus, options.gpus)
        self._groups = Groups(shape, options, at_once, lambda: self.queue.wanted, resources.group == "fresh")
        return self._groups

    def on_step(self) -> None:
        """Check for reasons to stop: failures, time budget, stop request. Trials then save a checkpoint and end."""
        if self.queue.storage_error is not None:
            self.stop(f"{self.queue.storage_error.given}: {self.queue.storage_error.why}")
        elif self.queue.halted:
            self.stop(f"failed trials: {self._options.stop_after_failures} (--stop-after-failures)")
        elif self._options.out_of_time:
            self.stop("the time budget is used up")
        elif self._groups is not None and self._groups.hopeless:
            self.stop(f"no workers could be started: {self._groups.hopeless}")
        elif not self.queue.training and time.monotonic() - self._looked >= LOOK_EVERY_S:
            with self.queue.storage():
                self._look()

    def _look(self) -> None:
        """Stop if that was requested: one listing. Also called when a trial has ended because it was asked to."""
        if self._ending:
            return
        self._looked = time.monotonic()
        if stored_plans.stop_requests(self._store, self.plan.name, self.token) - self._stops_seen:
            self.stop("stop requested")

    def stop(self, why: str) -> None:
        """Stop after the current epochs, with checkpoints."""
        if not self._ending:
            self._ending = True
            self.queue.halt()
            with contextlib.suppress(StorageError):  # then running trials cannot write either, and end
                stored_plans.request_stop(self._store, self.plan.name, self.token)
            print(f"{why}: stopping after the current epochs; the same command continues the sweep", file=sys.stderr)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM stops gracefully, the second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, _: object) -> None:
            self.interrupted = _INTERRUPTS[number]
            if self._ending:
                raise self.interrupted
            again = "press Ctrl-C again" if number == signal.SIGINT else "SIGTERM again"
            self.stop(f"{'interrupted' if number == signal.SIGINT else 'terminated'} ({again} to stop at once)")

        before = {number: signal.signal(number, on_signal) for number in _INTERRUPTS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _local_gpus() -> float:
    import torch

    return float(torch.cuda.device_count())


def chosen_address(plan: Plan, options: RunOptions) -> str:
    """Where the trials of a plan run."""
    resources = plan.sweep.spec.resources
    return addresses.chosen(options.address, plan.sweep.size, resources, options.max_concurrent)


def check(plan: Plan, options: RunOptions) -> None:
    """Check the address and, for runs on this machine, data and weights before anything runs."""
    address = chosen_address(plan, options)
    addresses.check(address)
    if address not in (addresses.LOCAL, IN_PROCESS):
        return
    from trainables.training.loop import task_named

    seen: list[Any] = []
    for arm in plan.arms:
        for check_input, section in task_named(arm.task).checks(arm.config):
            if (check_input, section) not in seen:
                seen.append((check_input, section))
                with protocols.placing_errors(plan.sweep):
                    check_input(section, options.local_data_root)


def forget(plan: Plan, store: Store, trials: Collection[str] | None = None) -> None:
    """Delete what the store has of the planned trials, except trials that are being trained right now.

    trials: ids of the only ones to delete; None for all.
    """
    leases = Leases(store)
    for trial_id in {trial.id for trial, _ in plan.runs() if trials is None or trial.id in trials}:
        if leases.free_after(trial_id) is not None:
            stored_trials.forget(store, trial_id)
    store.delete([layout.summary_key(plan.name)])
