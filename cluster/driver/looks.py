"""Runs a plan whose seeds are added at looks: after each one, the arms of undecided claims get more seeds.

Which arms these are follows from the plan and the results in the store alone. So a run that was killed, or a second
driver, finds the same looks again, and nothing else has to be stored.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping

from cluster.driver import fresh_run, pending_work
from cluster.driver.execution import RunEvents, RunResult, execute_plan
from sweeps.run_options import RunOptions
from sweeps.spec.expand import trials_of
from sweeps.spec.plan import Arm, Plan
from sweeps.spec.sections.seeds import HalfWidth
from sweeps.store import plans as stored_plans
from sweeps.store.base import Store
from sweeps.store.layout import Json
from trainables import schema

OpenArms = Callable[[Store, Json], Collection[str]]
"""The arms that need more seeds, given a store and a plan as it would be stored, whose trials have ended."""


def execute_looks(plan: Plan, store: Store, options: RunOptions, events: RunEvents, open_arms: OpenArms) -> RunResult:
    """Execute a plan; if looks add seeds to it, go on until they add none.

    Returns the result of the last look, or of the one that ended early.
    """
    if plan.looks is None:
        return execute_plan(plan, store, options, events)
    options, whole = options.started(), at_most(plan)
    stops_seen = stored_plans.stop_requests(store, plan.name, stored_plans.ALL_RUNS)
    planned = plan if options.fresh else grown(plan, store, open_arms)
    now = options
    while True:
        result = execute_plan(planned, store, now, events, whole)
        if not result.ended:
            return result
        larger = grown(planned, store, open_arms)
        if _seeds(larger) == _seeds(planned):
            fresh_run.end(plan, store)
            print(f"look at {max(_seeds(planned).values())} seeds: no arm gets more", file=sys.stderr)
            return result
        stopped = stored_plans.stop_requests(store, plan.name, stored_plans.ALL_RUNS) - stops_seen
        if stopped or options.out_of_time:
            return dataclasses.replace(result, left=pending_work.work_left(larger, store, schema))
        print(_added(planned, larger), file=sys.stderr)
        planned = larger
        now = dataclasses.replace(options, fresh=False, replace=False, retrain_stale=False, retry=False)


def grown(plan: Plan, store: Store, open_arms: OpenArms) -> Plan:
    """The plan with the seeds that all looks have added for which the store has the results."""
    assert plan.looks is not None
    seeds = dict.fromkeys((arm.name for arm in plan.arms), plan.looks.first)
    now = with_seeds(plan, seeds)
    for look in plan.looks.looks[1:]:
        work = pending_work.work_left(now, store, schema)
        if work.to_train or any(is_judged(plan, job.missing) for job in work.to_measure):
            break
        names = open_arms(store, now.to_json([]))
        if not names:
            break
        seeds |= dict.fromkeys(names, look)
        now = with_seeds(plan, seeds)
    return now


def is_judged(plan: Plan, extra: Collection[str]) -> bool:
    """Whether the seeds of a plan depend on one of these metrics of `report.extra`."""
    claims, until = plan.sweep.spec.claims, plan.looks.until if plan.looks else None
    columns = [column for claim in claims for column in (claim.metric, claim.above, claim.like)]
    columns += [until.metric] if isinstance(until, HalfWidth) else []
    metrics = tuple(f"test/{name}" for name in extra)
    return any(isinstance(column, str) and column.startswith(metrics) for column in columns)


def at_most(plan: Plan) -> Plan:
    """The plan with all seeds that looks can add."""
    assert plan.looks is not None
    return with_seeds(plan, dict.fromkeys((arm.name for arm in plan.arms), plan.looks.most))


def with_seeds(plan: Plan, seeds: Mapping[str, int]) -> Plan:
    """The plan with this number of seeds for each arm; arms that are not trained have those of all others for free."""
    most = max(seeds.values())

    def sized(arm: Arm) -> Arm:
        number = seeds[arm.name] if arm.trains else most
        return dataclasses.replace(arm, trials=trials_of(arm.task, arm.config, range(number), schema))

    return dataclasses.replace(plan, arms=tuple(map(sized, plan.arms)))


def _seeds(plan: Plan) -> dict[str, int]:
    return {arm.name: len(arm.trials) for arm in plan.arms}


def _added(before: Plan, after: Plan) -> str:
    """'look at 4 seeds: base and wide get 8 seeds'."""
    then, now = _seeds(before), _seeds(after)
    trained = [arm.name for arm in after.arms if arm.trains]
    more = [name for name in trained if now[name] > then[name]]
    done = len(trained) - len(more)
    rest = f"; {done} {'arm needs' if done == 1 else 'arms need'} no more" if done else ""
    return f"look at {max(then[name] for name in more)} seeds: {', '.join(more)} go on to {now[more[0]]} seeds{rest}"
