"""Verbs that check, plan, run and stop a sweep."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps import api
from sweeps.cli import common
from sweeps.errors import SweepError
from sweeps.wording import count

if TYPE_CHECKING:
    from cluster.driver.execution import RunEvents, RunResult
    from cluster.driver.pending_work import PendingWork
    from sweeps.results.cost import Estimate
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(
        check, "check", "check a sweep file; print each arm's configuration and where each value comes from"
    )
    common.add_sweep_file(parser)
    common.add_data(parser, "also check the files in this folder of the data sets (default: $SWEEPS_DATA)")
    parser.add_argument("--arm", metavar="NAME", help="show this arm only")
    common.add_json(parser)

    parser = verbs.add(
        plan, "plan", "print what a sweep would run: trials that are done, trials that are left, expected time"
    )
    common.add_sweep_file(parser, optional=True)
    parser.add_argument("--all", action="store_true", help="print a table of all shipped studies at the given size")
    common.add_store(parser)
    common.add_data(parser)
    common.add_address(parser)
    common.add_accept_changed_data(parser)
    common.add_arms(parser)
    parser.add_argument(
        "--measure",
        action="store_true",
        help="measure the speed of trials without recorded times on a few training steps",
    )
    common.add_json(parser)

    parser = verbs.add(run, "run", "run a sweep, or continue it")
    common.add_sweep_file(parser)
    common.add_store(parser)
    common.add_data(parser)
    common.add_address(parser)
    common.add_run_options(parser)
    common.add_failed_trials_exit(parser)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="delete the results of all planned trials and train them again; repeat the command to continue such a run",
    )
    parser.add_argument(
        "--retrain-stale",
        action="store_true",
        help="train finished trials again that other code of this package or other data than today's have made",
    )
    common.add_json(parser, "print nothing but the state at the end, as JSON")

    parser = verbs.add(resume, "resume", "continue a sweep by name, from the file that the store keeps")
    common.add_sweep_name(parser)
    common.add_store(parser)
    common.add_changes(parser, "change a value of the file, e.g. seeds=8; can be repeated")
    common.add_data(parser)
    common.add_address(parser)
    common.add_run_options(parser)
    common.add_failed_trials_exit(parser)
    common.add_json(parser, "print nothing but the state at the end, as JSON")

    parser = verbs.add(
        stop, "stop", "stop a sweep gracefully: its trials save a checkpoint at the end of the current epoch"
    )
    common.add_sweep_name(parser)
    common.add_store(parser)
    parser.add_argument("--trial", metavar="ID", help="stop this trial only")
    common.add_json(parser)

    parser = verbs.add(gc, "gc", "delete checkpoints that are no longer needed, and files that killed runs left")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of a sweep (default: all trials of the store)")
    common.add_store(parser)
    common.add_json(parser)


def check(options: argparse.Namespace) -> int:
    from sweeps.cli import console
    from sweeps.spec.loader import unknown_name_error

    sweep = common.load_sweep(options)
    planned = api.plan(sweep)
    common.print_notes(planned)
    arms = [arm for arm in planned.arms if options.arm in (None, arm.name)]
    if not arms:
        raise unknown_name_error(f"--arm {options.arm!r}", options.arm, [arm.name for arm in planned.arms])
    images = api.data_notes(planned, options.data)
    dependencies = [dependency.name for dependency in api.dependencies(sweep)]
    if options.json:
        from sweeps.cli.programs import json_document, plan_json

        json_document.write(plan_json.check(planned, arms, images, dependencies))
        return common.DONE
    console.check(planned, arms)
    console.images(images)
    console.dependencies(planned, dependencies)
    return common.DONE


def plan(options: argparse.Namespace) -> int:
    from sweeps.cli import console

    if options.all or options.file is None:
        return _plan_all(options)
    store, sweep = api.open(options.store), common.load_sweep(options)
    dependencies = api.dependencies(sweep, store)
    if options.json:
        _plan_json(options, sweep, store, dependencies)
        return common.DONE
    for dependency in dependencies:
        _print_cost(options, api.plan(dependency, store), store, is_dependency=True)
    planned = api.plan(sweep, store)
    common.print_notes(planned)
    _print_cost(options, planned, store)
    console.images(api.data_notes(planned, options.data))
    console.dependencies(planned, [dependency.name for dependency in dependencies])
    return common.DONE


def _plan_all(options: argparse.Namespace) -> int:
    from sweeps.cli.discovery import study_costs

    of_one = {
        options.file: options.file,
        "--set": options.set,
        "--set-for": options.set_for,
        "--arms": options.arms,
        "--skip-arms": options.skip_arms,
    }
    unfit = next((name for name, value in of_one.items() if value), "")
    if not options.all or unfit:
        given = f"{unfit} with --all" if options.all else "no sweep file"
        raise SweepError(
            f"sweeps plan: {given}",
            "a plan is of one sweep file, or of all shipped studies as they are",
            "FILE with --set, or --all with --size",
            "sweeps plan FILE, or sweeps plan --all --size small",
        )
    place = api.RunOptions(address=options.address, data=options.data)
    costs = api.study_costs(options.store, options.size, place, measure=options.measure)
    if options.json:
        from sweeps.cli.programs import json_document, plan_json

        json_document.write(plan_json.costs(costs))
    else:
        study_costs.show(costs)
    return common.DONE


def _print_cost(options: argparse.Namespace, plan: Plan, store: Store, is_dependency: bool = False) -> None:
    from sweeps.cli import console

    cost = _cost(options, plan, store, is_dependency)
    if cost.now.work.nothing and is_dependency:
        return
    console.plan(*cost.now)
    if cost.looks is None:
        return
    console.note(cost.looks.words)
    if not cost.later:
        console.note("looks have ended: no arm gets more seeds")
    for title, later in cost.later.items():
        console.note(f"{title}:")
        console.plan(*later)


def _plan_json(options: argparse.Namespace, sweep: api.LoadedSweep, store: Store, before: Sequence[Any]) -> None:
    from sweeps.cli.programs import json_document, plan_json

    first = [_cost(options, api.plan(dependency, store), store, is_dependency=True).now for dependency in before]
    planned = api.plan(sweep, store)
    cost = _cost(options, planned, store)
    later = {title: plan_json.planned(*one) for title, one in cost.later.items()}
    json_document.write(
        plan_json.PlanOutput(
            sweep=plan_json.planned(*cost.now),
            dependencies=[plan_json.planned(*one) for one in first if not one.work.nothing],
            looks=cost.looks.words if cost.looks else None,
            notes=[*planned.notes, *api.data_notes(planned, options.data)],
            **later,
        )
    )


class _WorkCost(NamedTuple):
    work: PendingWork
    estimate: Estimate | None
    """None if nothing is left."""


class _Cost(NamedTuple):
    now: _WorkCost
    looks: api.running.PlannedLooks | None
    later: dict[str, _WorkCost]
    """Of a sweep whose looks have not ended: the expected and the most work."""


def _cost(options: argparse.Namespace, plan: Plan, store: Store, is_dependency: bool = False) -> _Cost:
    """What is left of a plan, and what looks may add."""
    from sweeps.api import arguments
    from sweeps.store import record_cache

    place = api.RunOptions(
        address=options.address,
        data=options.data,
        accept_changed_data=options.accept_changed_data,
        arms=() if is_dependency else tuple(options.arms),
        skip_arms=() if is_dependency else tuple(options.skip_arms),
    )
    copied = record_cache.cached(arguments.plain_store(store), plan.name)
    looks = api.planned_looks(plan, copied)

    def cost(of: Plan) -> _WorkCost:
        work = api.work_left(of, copied, place)
        if work.nothing:
            return _WorkCost(work, None)
        return _WorkCost(work, api.estimate(work, copied, place, measure=options.measure))

    now = cost(looks.so_far if looks else plan)
    if is_dependency and now.work.nothing:
        return _Cost(now, None, {})
    api.check_data(plan, copied, place)
    ended = now.work.nothing and not now.work.left_out
    later = {} if looks is None or ended else {"expected": cost(looks.expected), "most": cost(looks.most)}
    return _Cost(now, looks, later)


def run(options: argparse.Namespace) -> int:
    store, sweep = api.open(options.store), common.load_sweep(options)
    return _ended(api.run(sweep, store, common.run_options(options), _events(options)), store, options)


def resume(options: argparse.Namespace) -> int:
    store = api.open(options.store)
    result = api.resume(store, options.name, common.run_options(options), _events(options), changes=options.set)
    return _ended(result, store, options)


def _events(options: argparse.Namespace) -> RunEvents:
    from sweeps.cli.progress_display import RunDisplay

    return RunDisplay(options.store, options.quiet or options.json)


def _ended(result: RunResult, store: Store, options: argparse.Namespace) -> int:
    """Print the state as JSON if that was asked for; returns the exit code."""
    if options.json:
        from sweeps.cli.programs import json_document, trial_json

        json_document.write(trial_json.status(api.status(store, result.stored["name"])))
    if result.complete:
        return common.DONE
    failed_trials_exit: int = options.failed_trials_exit
    return failed_trials_exit if result.ended else common.FAILED


def stop(options: argparse.Namespace) -> int:
    api.stop(options.store, options.name, trial=options.trial)
    if options.json:
        from sweeps.cli.programs import json_document, trial_json

        json_document.write(trial_json.StopOutput(name=options.name, trial=options.trial))
    else:
        asked = f"trial {options.trial}" if options.trial else f"the drivers of {options.name}"
        again = f"sweeps resume {options.name} --store {shlex.quote(str(options.store))}"
        print(
            f"asked {asked} to stop after the current {'epoch' if options.trial else 'epochs'}; continue with: {again} "
            "(on a cluster, submit the same command again)"
        )
    return common.DONE


def gc(options: argparse.Namespace) -> int:
    deleted, trials = api.delete_checkpoints(options.store, options.name)
    writes, folders = api.remove_leftovers(options.store)
    if options.json:
        from sweeps.cli.programs import json_document, trial_json

        json_document.write(trial_json.GcOutput(checkpoints=deleted, trials=trials, writes=writes, folders=folders))
        return common.DONE
    print(f"{count(deleted, 'checkpoint')} deleted; {count(trials, 'trial')} examined")
    if writes or folders:
        print(f"{writes} unfinished writes and {folders} temporary folders of killed processes deleted")
    return common.DONE
