"""Verbs that check, plan, run and end a sweep."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.cli import common

if TYPE_CHECKING:
    from sweeps.spec.dependencies import Dependency
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store


def check(options: argparse.Namespace) -> int:
    from sweeps.cli import console
    from sweeps.spec import dependencies

    plan = common.load(options)
    chosen = [arm for arm in plan.arms if options.arm in (None, arm.name)]
    if not chosen:
        from sweeps.spec.loader import unknown

        raise unknown(f"--arm {options.arm!r}", options.arm, [arm.name for arm in plan.arms])
    console.check(plan, chosen)
    console.first(plan, [one.name for one in dependencies.first(common.read(options), options.file.parent, None)])
    return common.DONE


def plan(options: argparse.Namespace) -> int:
    from sweeps.cli import console
    from sweeps.spec import dependencies

    store, sweep, folder = common.store(options), common.read(options), options.file.parent
    before = dependencies.first(sweep, folder, store)
    for one in before:
        _tell_cost(options, common.expand(one.sweep, one.folder, store, pending=True), store, only_if_left=True)
    expanded = common.expand(sweep, folder, store, pending=True)
    common.tell_notes(expanded)
    _tell_cost(options, expanded, store)
    console.first(expanded, [one.name for one in before])
    return common.DONE


def _tell_cost(options: argparse.Namespace, plan: Plan, store: Store, only_if_left: bool = False) -> None:
    from cluster.driver import cost_measurement, driver
    from sweeps.cli import console
    from trainables import schema

    work = driver.work_left(plan, store, schema)
    if work.nothing and only_if_left:
        return
    address = options.address or (driver.IN_PROCESS if options.tiny else "local")
    data_root = Path(options.data).resolve() if options.data else None
    console.plan(
        work, None if work.nothing else cost_measurement.estimate(work, store, address, data_root, options.measure)
    )


def run(options: argparse.Namespace) -> int:
    """Run what the sweep depends on, then the sweep itself. Its file is checked first, as far as that goes."""
    from sweeps.spec import dependencies

    store, sweep, folder = common.store(options), common.read(options), options.file.parent
    common.expand(sweep, folder, store, renew=options.replace, pending=True)
    if not _run_first(options, dependencies.first(sweep, folder, store, options.replace), store):
        return common.FAILED
    plan = common.expand(sweep, folder, store, renew=options.replace, pending=False)
    common.tell_notes(plan)
    return _code(_go(options, plan, store))


def _run_first(options: argparse.Namespace, before: list[Dependency], store: Store) -> bool:
    """Run sweeps that others depend on; False where one was ended early. Failed trials are for `pin` to judge."""
    began, budget = time.monotonic(), options.time_budget
    for one in before:
        plan = common.expand(one.sweep, one.folder, store, pending=False)
        if not options.quiet:
            print(f"first: {plan.name}", file=sys.stderr)
        # What was asked for about the sweep itself is not meant for those that it depends on.
        asked = argparse.Namespace(**{**vars(options), "fresh": False, "replace": False})
        if not _go(asked, plan, store).nothing:
            return False
        if budget is not None:
            options.time_budget = max(budget - (time.monotonic() - began), 1.0)
    return True


def resume(options: argparse.Namespace) -> int:
    """Run a sweep from the file that its newest plan holds, with the changes that were made to it then."""
    store = common.store(options)
    stored, plan = common.stored_plan(store, options.name, options.set)
    options.tiny = stored["tiny"]
    return _code(_go(options, plan, store))


def _code(left: Any) -> int:
    return common.DONE if left.nothing and not left.failed else common.FAILED


def _go(options: argparse.Namespace, plan: Plan, store: Store) -> Any:
    """Run a plan; what is left of it afterwards, a `cluster.driver.driver.Work`."""
    from cluster.driver import driver, forging
    from cluster.worker import inputs
    from sweeps.cli import console
    from sweeps.cli.progress_display import Watch
    from sweeps.results import progress
    from sweeps.spec import check_unchanged
    from sweeps.store import plans as stored_plans
    from trainables import schema

    settings = driver.Settings(
        address=options.address or (driver.IN_PROCESS if options.tiny else "local"),
        data_root=str(Path(options.data).resolve()) if options.data else None,
        max_concurrent=options.max_concurrent,
        retry=bool(options.retry),
        checkpoint_s=options.checkpoint_every,
        budget_s=options.time_budget,
        failures=options.stop_after_failures,
        log=options.log,
        command=options.command,
    )
    if not options.replace:
        check_unchanged.refuse_changed_arms(stored_plans.newest_plan(store, plan.name), plan, store)
    if options.fresh:
        driver.check(plan, settings)  # before anything is deleted
        inputs.check(plan, store)
        driver.forget(plan, store)
    work = driver.work_left(plan, store, schema, settings.retry)
    if not work.nothing:
        driver.check(work.plan, settings)  # before anything is written
        inputs.check(work.plan, store)
    stored = driver.write(work.plan, store, settings.command)
    if not options.quiet:
        console.plan(work)
    left = work
    if not work.nothing:
        forging.prepare(work, store, settings.data_root, options.quiet)
        with Watch(len(work.jobs) + work.cached, work.cached, _shown_metric(plan), options.quiet) as watch:
            driver.run(work, store, schema, settings, watch)
        stored = stored_plans.newest_plan(store, plan.name) or stored
        left = driver.work_left(plan, store, schema)
    if not options.quiet:
        console.outcome(stored, progress.trial_states(store, stored), options.store)
    return left


def _shown_metric(plan: Plan) -> str:
    """The column whose best value the progress shows: the search's, else the first of the report, on validation."""
    search = plan.sweep.spec.search
    return search.metrics[0] if search else plan.sweep.spec.report.metrics[0].replace("test/", "val/")


def stop(options: argparse.Namespace) -> int:
    from sweeps.store import plans as stored_plans

    store = common.store(options)
    stored = common.newest_plan(store, options.name)
    if options.trial is not None:
        return _stop_trial(store, stored, options.trial)
    stored_plans.request_stop(store, options.name)
    print(f"asked the drivers of {options.name} to end after the epochs at hand; sweeps resume {options.name} goes on")
    return common.DONE


def _stop_trial(store: Store, stored: dict[str, Any], trial: str) -> int:
    """Not for a suggestion of a search: its driver waits until every suggestion is told."""
    from sweeps.results import progress
    from sweeps.spec.loader import unknown
    from sweeps.store import plans as stored_plans

    trials = progress.targets(stored)
    if trial not in trials:
        raise unknown(f"--trial {trial!r}", trial, trials)
    stored_plans.request_stop(store, stored["name"], trial)
    print(f"asked trial {trial} to end after the epoch at hand; sweeps resume {stored['name']} goes on with it")
    return common.DONE


def gc(options: argparse.Namespace) -> int:
    from cluster.driver.leases import Leases
    from sweeps.store import checkpoints

    store = common.store(options)
    if options.name:
        arms = common.newest_plan(store, options.name)["arms"]
        trials = sorted({trial["id"] for arm in arms for trial in arm["trials"].values()})
    else:
        trials = store.children("trials")
    leases = Leases(store)
    dropped = sum(checkpoints.collect(store, trial) for trial in trials if leases.free_after(trial) is not None)
    print(f"{dropped} checkpoints deleted, of {len(trials)} trials looked at")
    return common.DONE
