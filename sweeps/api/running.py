"""Runs in the Python interface: plan a sweep, run it, continue it, stop it, reproduce its trials."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps import data_roots, scratch, sizes
from sweeps.api import arguments
from sweeps.api.arguments import LoadedSweep
from sweeps.api.progress import ProgressLike, listener
from sweeps.api.results import newest_plan
from sweeps.api.tracking import tracked
from sweeps.data_roots import DataFolders
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.driver.execution import RunEvents, RunResult
    from cluster.driver.pending_work import PendingWork
    from cluster.driver.reproduction import Reproduction
    from sweeps.api.arguments import StoreLike
    from sweeps.api.planned import SweepPlan
    from sweeps.results.cost import Estimate
    from sweeps.spec.plan import Plan
    from sweeps.spec.yaml_document import Document
    from sweeps.store.base import Store
    from sweeps.store.layout import Json


# --- before a run -----------------------------------------------------------------------------------------------------


def plan(sweep: LoadedSweep, store: StoreLike | None = None) -> SweepPlan:
    """The trials of a sweep. Trials of other sweeps that have not run yet get temporary ids.

    store: where to look up trials of other sweeps, and which trials are done; None: nowhere. TrialError for a network
    that cannot fill the squares of the sweep's protocol: it fills a blank one, if they are not as large as its images.
    """
    from sweeps.api.planned import SweepPlan

    opened = None if store is None else arguments.plain_store(store)
    planned = _expand(sweep, opened, pending=True)
    _check_protocol_size(planned)
    return SweepPlan(planned.sweep, planned.arms, planned.notes, opened)


def _check_protocol_size(plan: Plan) -> None:
    """Raise TrialError if a network cannot fill the squares of the sweep's protocol."""
    if plan.protocol is None:
        return
    size = plan.protocol["evaluation"]["images"]["size"]
    seen = []
    for config in (arm.config for arm in plan.arms if arm.config["data"]["size"] != size):
        from trainables.inpaint.evaluation import by_protocol  # imports torch

        if (network := [config["model"], config["data"]["size"]]) not in seen:
            seen.append(network)
            by_protocol.check_size(config, None)


def data_notes(plan: Plan, data: DataFolders | None) -> list[str]:
    """Check the files of every arm in the data root; returns what they are, with warnings.

    That is the number of images in each split, and the share of the image that files of masks cover. data: the data
    root; None checks nothing. No image is decoded, but for up to 100 masks of a folder. Raises TrialError for what a
    run would refuse: missing folders and files, wrong lists, files that are no images, too few images.
    """
    root = RunOptions(data=data).data_root
    if root is None:
        return []
    absent = [str(folder) for folder in data_roots.split(str(root)) if not folder.is_dir()]
    from sweeps.protocols import section as protocols
    from trainables.data import inventory

    found: dict[str, list[str]] = {}
    noted: dict[str, str] = {}
    for arm in plan.arms:
        key = json.dumps([arm.config.get(name) for name in inventory.READ], sort_keys=True)
        if key not in noted:
            with protocols.placing_errors(plan.sweep):
                noted[key] = "; ".join(_notes(arm.config, root))
        if noted[key]:
            found.setdefault(noted[key], []).append(arm.name)
    notes = [f"warning: there is no folder {', '.join(absent)}, given as a data root"] if absent else []
    if len(found) == 1:
        return notes + [f"images: {words}" for words in found]
    shown = {words: ", ".join(arms[:3]) + " and others" * (len(arms) > 3) for words, arms in found.items()}
    return notes + [f"images of {arms}: {words}" for words, arms in shown.items()]


def _notes(config: Mapping[str, Any], root: Path) -> list[str]:
    """What the data of a configuration are, with warnings; it depends on the sections `inventory.READ` alone."""
    from trainables.data import inventory

    counts = inventory.check(config, root)
    few = inventory.few_test_images(counts) if counts else ""
    warnings = [f"{name} is not in {root}" for name in inventory.absent_sets(config, root)]
    warnings += [few] if few else []
    warnings += inventory.few_test_photographs(config, root)
    return [
        *([", ".join(f"{split} {count:,}" for split, count in counts.items())] if counts else []),
        *(f"warning: {warning}" for warning in warnings),
        *inventory.mask_notes(config, root),
        *inventory.protocol_notes(config, root),
    ]


def dependencies(sweep: LoadedSweep, store: StoreLike | None = None, *, replace: bool = False) -> list[LoadedSweep]:
    """The sweeps that must run before this one, in order."""
    from sweeps.spec import dependencies

    opened = None if store is None else arguments.plain_store(store)
    return [
        LoadedSweep(one.sweep, one.folder)
        for one in dependencies.missing_dependencies(sweep.sweep, sweep.folder, opened, replace)
    ]


def work_left(plan: Plan, store: StoreLike, options: RunOptions | None = None) -> PendingWork:
    """The trials and searches of a plan that are not done in a store. options: `arms` and `skip_arms` of a run."""
    from cluster.driver import pending_work
    from sweeps.results.older_code import retrained_for_metrics
    from sweeps.store import plans as stored_plans
    from trainables import schema

    store = arguments.plain_store(store)
    work = pending_work.narrowed(pending_work.work_left(plan, store, schema), options or RunOptions())
    again = retrained_for_metrics(store, stored_plans.newest_plan(store, plan.name), plan)
    return dataclasses.replace(work, stale=again)


def check_data(plan: Plan, store: StoreLike, options: RunOptions | None = None) -> None:
    """Raise SweepError if earlier trials of the sweep have read other data under a path than this machine has there."""
    from cluster.driver import planned_data

    store, options = arguments.plain_store(store), options or RunOptions()
    if not options.accept_changed_data:
        planned_data.look(plan, store, options.local_data_root).refuse_changes(store)


def estimate(
    work: PendingWork, store: StoreLike, options: RunOptions | None = None, *, measure: bool = False
) -> Estimate:
    """How long work takes, from the times in the store. measure: time a few steps of trials without recorded times."""
    from cluster.driver import cost_measurement, driver

    options = options or RunOptions()
    address = driver.chosen_address(work.plan, options)
    return cost_measurement.estimate(work, arguments.plain_store(store), address, options.local_data_root, measure)


@dataclasses.dataclass(frozen=True)
class PlannedLooks:
    """What looks may add to a plan."""

    words: str
    """When claims can be decided, and how the expected number of seeds is meant."""
    so_far: Plan
    """The plan with the seeds that looks have added so far; their trials may be left. If none is, looks have ended."""
    expected: Plan
    """The plan with the expected number of seeds of each arm, at least those so far."""
    most: Plan
    """The plan with all seeds that looks can add."""


def planned_looks(plan: Plan, store: StoreLike) -> PlannedLooks | None:
    """What looks have made of a plan so far, and the expected and the most that they make of it. None without looks."""
    if plan.looks is None:
        return None
    from analysis.claims import expected_seeds
    from cluster.driver import looks

    trained = [arm.name for arm in plan.arms if arm.trains]
    baselines = {arm.name: arm.baseline for arm in plan.arms}
    claims = [claim.model_dump(exclude_none=True) for claim in plan.sweep.spec.claims]
    seeds, words = expected_seeds.expect(plan.looks, claims, trained, baselines)
    so_far = looks.grown(plan, arguments.plain_store(store), _open_arms)
    expected = {arm.name: max(seeds[arm.name], len(arm.trials)) for arm in so_far.arms}
    return PlannedLooks(words, so_far, looks.with_seeds(plan, expected), looks.at_most(plan))


def _open_arms(store: Store, plan: Json) -> Collection[str]:
    """The arms that get more seeds. Imported late, because pandas takes longer to import than a run to plan."""
    from analysis.claims.added_seeds import open_arms

    return open_arms(store, plan)


def _expand(sweep: LoadedSweep, store: Store | None, *, renew: bool = False, pending: bool) -> Plan:
    """See `sweeps.spec.dependencies.pin` for `renew` and `pending`."""
    from sweeps.search import arm_search
    from sweeps.spec import dependencies, expand
    from trainables import schema

    pinned = dependencies.pin(sweep.sweep, sweep.folder, store, renew=renew, pending=pending)
    planned = expand.expand(pinned, schema)
    for arm in planned.searched:
        arm_search.check_space(pinned, arm, schema)
    return planned


# --- running ----------------------------------------------------------------------------------------------------------


def run(
    sweep: LoadedSweep,
    store: StoreLike,
    options: RunOptions | None = None,
    events: RunEvents | None = None,
    *,
    progress: ProgressLike = False,
) -> RunResult:
    """Run the sweeps that a sweep depends on, then the sweep itself. Trials that are done are not run again.

    progress: True prints a line for each trial that ends; a function is called with a `TrialProgress` whenever a trial
    starts, reports an epoch or ends. An error that it raises ends the run, which can be continued. events: receives all
    events of the run instead.

    Returns the result of the sweep, or that of a dependency which ended early. KeyboardInterrupt after Ctrl-C.
    """
    from cluster.driver import arm_choice
    from cluster.driver.looks import execute_looks
    from sweeps.spec.dependencies import named_in

    store, options = arguments.plain_store(store), (options or RunOptions()).started()
    events = tracked(listener(progress, events), store, options)
    planned = _expand(sweep, store, renew=options.replace, pending=True)
    arm_choice.part(planned, options)  # as the line above, reports mistakes before anything runs
    first = dataclasses.replace(options, fresh=False, replace=False, arms=(), skip_arms=())
    for dependency in dependencies(sweep, store, replace=options.replace):
        required = _expand(dependency, store, pending=False)
        events.dependency(required)
        renewed = options.replace and bool(named_in(sweep.sweep, dependency.sweep))
        renew = dataclasses.replace(first, replace=renewed)
        result = execute_looks(required, store, renew, events, _open_arms)
        if not result.ended:
            return result
    if planned.sweep is not sweep.sweep:  # it has references, whose trials are known now
        planned = _expand(sweep, store, renew=options.replace, pending=False)
    events.notes(planned)
    return execute_looks(planned, store, options, events, _open_arms)


def resume(
    store: StoreLike,
    name: str,
    options: RunOptions | None = None,
    events: RunEvents | None = None,
    *,
    changes: Sequence[str] = (),
    progress: ProgressLike = False,
) -> RunResult:
    """Continue a sweep from the file that its newest plan holds.

    changes: KEY=VALUE, in addition to those with which it was planned. progress, events: as for `run`.
    """
    from cluster.driver.looks import execute_looks

    store, options = arguments.plain_store(store), (options or RunOptions()).started()
    events = tracked(listener(progress, events), store, options)
    _refuse_candidate(newest_plan(store, name))
    _, planned = _plan_again(store, name, changes)
    return execute_looks(planned, store, options, events, _open_arms)


def _refuse_candidate(stored: Json) -> None:
    """Raise SweepError for the sweep of a candidate of a gate, which alone knows how many seeds it needs."""
    if "gate" in stored:
        raise SweepError(
            f"sweep {stored['name']!r}",
            f"it is a candidate of the gate {stored['gate']['name']!r}, which adds seeds until it is decided",
            "`sweeps gate try` with the label and the files of this candidate",
            f"sweeps gate status --name {stored['gate']['name']}",
        )


def stop(store: StoreLike, name: str, *, trial: str | None = None) -> None:
    """Ask the drivers of a sweep to stop after the current epochs. trial: stop this trial only.

    A trial of a search cannot be stopped alone, since its driver waits for the result of every suggestion.
    """
    from sweeps.results import progress
    from sweeps.spec.loader import unknown_name_error
    from sweeps.store import plans as stored_plans

    store = arguments.plain_store(store)
    stored = newest_plan(store, name)
    if trial is None:
        stored_plans.request_stop(store, name)
        return
    trials = progress.targets(stored)
    if trial not in trials:
        raise unknown_name_error(f"--trial {trial!r}", trial, trials)
    stored_plans.request_stop(store, name, trial)


def delete_checkpoints(store: StoreLike, name: str | None = None) -> tuple[int, int]:
    """Delete the checkpoints that are no longer needed, of one sweep or of all trials; running trials are skipped.

    Returns the number of deleted checkpoints and of trials.
    """
    from cluster.driver.queue.leases import Leases
    from sweeps.store import checkpoints, listing

    store = arguments.plain_store(store)
    if name is None:
        trials = listing.children(store, "trials")
    else:
        arms = newest_plan(store, name)["arms"]
        trials = sorted({trial["id"] for arm in arms for trial in arm["trials"].values()})
    leases = Leases(store)
    deleted = sum(checkpoints.collect(store, trial) for trial in trials if leases.free_after(trial) is not None)
    return deleted, len(trials)


UNFINISHED_S = 24 * 3600.0
"""Age in seconds from which a write that never ended is deleted."""


def remove_leftovers(store: StoreLike) -> tuple[int, int]:
    """Delete what killed processes left: writes to the store that never ended, and temporary folders of this machine.

    Returns the number of writes, which are at least a day old, and of folders, which are at least an hour old.
    """
    return arguments.plain_store(store).remove_unfinished(UNFINISHED_S), scratch.remove_abandoned()


def _plan_again(store: Store, name: str, changes: Sequence[str] = ()) -> tuple[Json, Plan]:
    """The newest stored plan of a sweep, and the plan that its stored file makes with its own and further changes."""
    from cluster.worker import user_code
    from sweeps.spec import loader, yaml_document
    from sweeps.store import plans as stored_plans
    from trainables import schema

    stored = newest_plan(store, name)
    if not {"tiny", "changes"} <= stored.keys():
        raise SweepError(
            f"sweep {name!r}",
            "an older version planned it, without recording --tiny and --set",
            "a plan of this version",
            f"the command that planned it: {stored['command']}",
        )
    source = yaml_document.parse(stored["text"], stored["file"])
    configs = [arm["config"] for arm in stored["arms"]]
    configs += [{"user_code": stored["user_code"]}] if "user_code" in stored else []
    user_code.bring_code(store, {name for config in configs for name in schema.code_of(stored["task"], config)})
    _use_stored_code(source, stored)
    sweep = loader.adapt(source, sizes.size_of(stored), (*stored["changes"], *changes))
    sweep.user_code, sweep.stored_protocol = stored_plans.user_code(stored), stored_plans.protocol(stored)
    return stored, _expand(LoadedSweep(sweep, None), store, pending=False)


def _use_stored_code(source: Document, stored: Json) -> None:
    """Let a sweep of task `command` run the code of its stored plan, because the folder of its file is not known."""
    if "gate" in stored:
        return  # its file names the hashes of both arms
    hashes = {arm["config"].get("code_hash") for arm in stored["arms"]}
    if len(hashes) > 1:
        raise SweepError(
            f"sweep {stored['name']!r}",
            "its arms run different files, which only the folder of its file has",
            "a sweep with the same `code` in every arm",
            f"in the folder of the file: sweeps run {stored['file']}",
        )
    if None not in hashes:
        source.set(("base", "code_hash"), hashes.pop(), "the stored plan")


def reproduce(
    store: StoreLike,
    name: str,
    options: RunOptions | None = None,
    events: RunEvents | None = None,
    *,
    arm: str | None = None,
    seed: int | None = None,
    into: str | None = None,
) -> list[Reproduction]:
    """Run finished trials of a sweep again from their recorded configuration.

    They run without Ray unless `options.address` says otherwise or several workers have trained them.
    arm, seed: only these trials. into: the store that keeps the new results; None: they are deleted.
    """
    from cluster.connection import address as addresses
    from cluster.driver import reproduction
    from cluster.driver.execution import NoEvents

    store, options = arguments.plain_store(store), options or RunOptions()
    stored, planned = _plan_again(store, name)
    trials = reproduction.finished_trials(stored, store, arm, seed)
    default = addresses.LOCAL if planned.sweep.spec.resources.grouped else addresses.IN_PROCESS
    options = dataclasses.replace(options, address=options.address or default)
    with scratch.folder("reproduce") as folder:
        target = arguments.plain_store(into or str(folder))
        return reproduction.run_again(planned, trials, store, target, options, events or NoEvents())
