"""Verbs that check, plan, run and end a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.verbs import common

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.store import Store


def check(options: argparse.Namespace) -> int:
    from sweeps import terminal

    plan = common.load(options)
    chosen = [arm for arm in plan.arms if options.arm in (None, arm.name)]
    if not chosen:
        from sweeps.spec import unknown

        raise unknown(f"--arm {options.arm!r}", options.arm, [arm.name for arm in plan.arms])
    terminal.check(plan, chosen)
    return common.DONE


def plan(options: argparse.Namespace) -> int:
    from cluster import drive, measure
    from sweeps import terminal
    from trainables import schema

    store = common.store(options)
    work = drive.work_left(common.load(options), store, schema)
    address = options.address or (drive.IN_PROCESS if options.tiny else "local")
    data_root = Path(options.data).resolve() if options.data else None
    terminal.plan(work, None if work.nothing else measure.estimate(work, store, address, data_root, options.measure))
    return common.DONE


def run(options: argparse.Namespace) -> int:
    return _go(options, common.load(options), common.store(options))


def resume(options: argparse.Namespace) -> int:
    """Run a sweep from the file that its newest plan holds, with the changes that were made to it then."""
    store = common.store(options)
    stored, plan = common.stored_plan(store, options.name, options.set)
    options.tiny = stored["tiny"]
    return _go(options, plan, store)


def _go(options: argparse.Namespace, plan: Plan, store: Store) -> int:
    from cluster import drive
    from sweeps import changes, ledger, progress, terminal
    from sweeps.watch import Watch
    from trainables import schema

    settings = drive.Settings(
        address=options.address or (drive.IN_PROCESS if options.tiny else "local"),
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
        changes.refuse_changed_arms(ledger.newest_plan(store, plan.name), plan, store)
    if options.fresh:
        drive.check(plan, settings)  # before anything is deleted
        drive.forget(plan, store)
    work = drive.work_left(plan, store, schema, settings.retry)
    if not work.nothing:
        drive.check(work.plan, settings)  # before anything is written
    stored = drive.write(work.plan, store, settings.command)
    if not options.quiet:
        terminal.plan(work)
    left = work
    if not work.nothing:
        with Watch(len(work.jobs) + work.cached, work.cached, _shown_metric(plan), options.quiet) as watch:
            drive.run(work, store, schema, settings, watch)
        stored = ledger.newest_plan(store, plan.name) or stored
        left = drive.work_left(plan, store, schema)
    if not options.quiet:
        terminal.outcome(stored, progress.trial_states(store, stored), options.store)
    return common.DONE if left.nothing and not left.failed else common.FAILED


def _shown_metric(plan: Plan) -> str:
    """The column whose best value the progress shows: the search's, else the first of the report, on validation."""
    search = plan.sweep.spec.search
    return search.metrics[0] if search else plan.sweep.spec.report.metrics[0].replace("test/", "val/")


def stop(options: argparse.Namespace) -> int:
    from sweeps import ledger

    store = common.store(options)
    stored = common.newest_plan(store, options.name)
    if options.trial is not None:
        return _stop_trial(store, stored, options.trial)
    ledger.request_stop(store, options.name)
    print(f"asked the drivers of {options.name} to end after the epochs at hand; sweeps resume {options.name} goes on")
    return common.DONE


def _stop_trial(store: Store, stored: dict[str, Any], trial: str) -> int:
    """Not for a suggestion of a search: its driver waits until every suggestion is told."""
    from sweeps import ledger, progress
    from sweeps.spec import unknown

    trials = progress.targets(stored)
    if trial not in trials:
        raise unknown(f"--trial {trial!r}", trial, trials)
    ledger.request_stop(store, stored["name"], trial)
    print(f"asked trial {trial} to end after the epoch at hand; sweeps resume {stored['name']} goes on with it")
    return common.DONE


def gc(options: argparse.Namespace) -> int:
    from cluster.leases import Leases
    from sweeps import ledger

    store = common.store(options)
    if options.name:
        arms = common.newest_plan(store, options.name)["arms"]
        trials = sorted({trial["id"] for arm in arms for trial in arm["trials"].values()})
    else:
        trials = store.children("trials")
    leases = Leases(store)
    dropped = sum(ledger.collect(store, trial) for trial in trials if leases.free_after(trial) is not None)
    print(f"{dropped} checkpoints deleted, of {len(trials)} trials looked at")
    return common.DONE
