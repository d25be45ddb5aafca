"""The Python interface: load, plan, run and read sweeps. The `sweeps` command calls these functions.

`import sweeps as sw` makes them available as `sw.load`, `sw.run` and so on. Heavy packages are imported inside the
functions, so importing this module is cheap.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from analysis.report.content import Report
    from analysis.study import Study
    from cluster.driver.driver import PendingWork, RunSettings
    from cluster.driver.execution import RunEvents, RunResult
    from cluster.driver.reproduction import Reproduction
    from cluster.worker.prediction import Prediction
    from sweeps.results.cost import Estimate
    from sweeps.spec.loader import Sweep
    from sweeps.spec.plan import Plan
    from sweeps.store.base import Store
    from sweeps.store.layout import Json

    StoreLike: TypeAlias = Store | str | Path
    """An open store, or the address of one: a folder or `s3://bucket/prefix`."""


# --- arguments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep as its file states it; references to other sweeps are not resolved yet."""

    sweep: Sweep
    folder: Path | None
    """Folder in which the files of other sweeps are looked up; None for a sweep that was read from a store."""

    @property
    def name(self) -> str:
        return self.sweep.spec.name


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run a sweep."""

    address: str | None = None
    """`local`: start a Ray on this machine. `auto` or HOST:PORT: use a running Ray. `in-process`: run without Ray.
    None: `in-process` for the tiny form of a sweep, otherwise `local`."""
    data: str | Path | None = None
    """Folder of the data sets; None: $SWEEPS_DATA on the machine that trains."""
    max_concurrent: int | None = None
    """Trials that run at the same time; None: as many as fit."""
    retry: bool = False
    """Also run trials that failed before."""
    fresh: bool = False
    """Delete the results of the planned trials first and train them again."""
    replace: bool = False
    """Accept that an arm has results of another configuration, and resolve references to other sweeps again."""
    time_budget_s: float | None = None
    """Stop gracefully after this many seconds."""
    stop_after_failures: int | None = None
    """Stop gracefully after this many failed trials."""
    checkpoint_every_s: float = 20.0
    """Seconds between checkpoints."""
    log: str | None = None
    """Also log records to `tensorboard`, `mlflow` or `wandb`, through Ray Tune."""
    command: tuple[str, ...] = ()
    """The command line, which is stored with the plan and the results."""

    def settings(self, tiny: bool, inputs: str | None = None) -> RunSettings:
        """The driver's settings. inputs: see `cluster.worker.worker.WorkerOptions`."""
        from cluster.driver import driver

        return driver.RunSettings(
            address=self.address or (driver.IN_PROCESS if tiny else "local"),
            data_root=str(Path(self.data).resolve()) if self.data else None,
            max_concurrent=self.max_concurrent,
            retry=self.retry,
            checkpoint_s=self.checkpoint_every_s,
            budget_s=self.time_budget_s,
            failures=self.stop_after_failures,
            log=self.log,
            command=self.command,
            inputs=inputs,
        )


# --- before a run -----------------------------------------------------------------------------------------------------


def open(store: StoreLike) -> Store:
    """Open the store at a folder, or at an address `s3://bucket/prefix`. An open store is returned unchanged."""
    from sweeps.store.open import open_store

    return open_store(str(store)) if isinstance(store, (str, Path)) else store


def load(file: str | Path, *, tiny: bool = False, changes: Sequence[str] = ()) -> LoadedSweep:
    """Read and check a sweep file.

    tiny: its small form, which takes seconds. changes: KEY=VALUE, as for `--set`.
    """
    from sweeps.spec import loader

    return LoadedSweep(loader.load(Path(file), tiny, tuple(changes)), Path(file).parent)


def plan(sweep: LoadedSweep, store: StoreLike | None = None) -> Plan:
    """The trials of a sweep. Trials of other sweeps that have not run yet get temporary ids.

    store: where to look up trials of other sweeps; None: nowhere.
    """
    return _expand(sweep, None if store is None else open(store), pending=True)


def dependencies(sweep: LoadedSweep, store: StoreLike | None = None, *, replace: bool = False) -> list[LoadedSweep]:
    """The sweeps that must run before this one, in order."""
    from sweeps.spec import dependencies

    opened = None if store is None else open(store)
    return [
        LoadedSweep(one.sweep, one.folder)
        for one in dependencies.missing_dependencies(sweep.sweep, sweep.folder, opened, replace)
    ]


def work_left(plan: Plan, store: StoreLike) -> PendingWork:
    """The trials and searches of a plan that are not done in a store."""
    from cluster.driver import driver
    from trainables import schema

    return driver.work_left(plan, open(store), schema)


def estimate(
    work: PendingWork, store: StoreLike, options: RunOptions | None = None, *, measure: bool = False
) -> Estimate:
    """How long work takes, from the times in the store. measure: time a few steps of trials without recorded times."""
    from cluster.driver import cost_measurement

    settings = (options or RunOptions()).settings(work.plan.sweep.tiny)
    data_root = Path(settings.data_root) if settings.data_root else None
    return cost_measurement.estimate(work, open(store), settings.address, data_root, measure)


def _expand(sweep: LoadedSweep, store: Store | None, *, renew: bool = False, pending: bool) -> Plan:
    """See `sweeps.spec.dependencies.pin` for `renew` and `pending`."""
    from sweeps.spec import dependencies, plan
    from trainables import schema

    return plan.expand(dependencies.pin(sweep.sweep, sweep.folder, store, renew=renew, pending=pending), schema)


# --- running ----------------------------------------------------------------------------------------------------------


def run(
    sweep: LoadedSweep,
    store: StoreLike,
    options: RunOptions | None = None,
    events: RunEvents | None = None,
) -> RunResult:
    """Run the sweeps that a sweep depends on, then the sweep itself. Trials that are done are not run again.

    Returns the result of the sweep, or that of a dependency which ended early. KeyboardInterrupt after Ctrl-C.
    """
    from cluster.driver.execution import NoEvents, execute_plan

    store, options, events = open(store), options or RunOptions(), events or NoEvents()
    _expand(sweep, store, renew=options.replace, pending=True)  # reports mistakes in the file before anything runs
    settings = options.settings(sweep.sweep.tiny)
    began, budget_s = time.monotonic(), settings.budget_s
    for dependency in dependencies(sweep, store, replace=options.replace):
        planned = _expand(dependency, store, pending=False)
        events.dependency(planned)
        result = execute_plan(planned, store, settings, events)
        if not result.left.nothing:
            return result
        if budget_s is not None:
            settings = dataclasses.replace(settings, budget_s=max(budget_s - (time.monotonic() - began), 1.0))
    planned = _expand(sweep, store, renew=options.replace, pending=False)
    events.notes(planned)
    return execute_plan(planned, store, settings, events, fresh=options.fresh, replace=options.replace)


def resume(
    store: StoreLike,
    name: str,
    options: RunOptions | None = None,
    events: RunEvents | None = None,
    *,
    changes: Sequence[str] = (),
) -> RunResult:
    """Continue a sweep from the file that its newest plan holds.

    changes: KEY=VALUE, in addition to those with which it was planned.
    """
    from cluster.driver.execution import NoEvents, execute_plan

    store, options = open(store), options or RunOptions()
    _, planned = _plan_again(store, name, changes)
    settings = options.settings(planned.sweep.tiny)
    return execute_plan(planned, store, settings, events or NoEvents(), fresh=options.fresh, replace=options.replace)


def stop(store: StoreLike, name: str, *, trial: str | None = None) -> None:
    """Ask the drivers of a sweep to stop after the current epochs. trial: stop this trial only.

    A trial of a search cannot be stopped alone, since its driver waits for the result of every suggestion.
    """
    from sweeps.results import progress
    from sweeps.spec.loader import unknown_name_error
    from sweeps.store import plans as stored_plans

    store = open(store)
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
    from cluster.driver.leases import Leases
    from sweeps.store import checkpoints

    store = open(store)
    if name is None:
        trials = store.children("trials")
    else:
        arms = newest_plan(store, name)["arms"]
        trials = sorted({trial["id"] for arm in arms for trial in arm["trials"].values()})
    leases = Leases(store)
    deleted = sum(checkpoints.collect(store, trial) for trial in trials if leases.free_after(trial) is not None)
    return deleted, len(trials)


# --- results ----------------------------------------------------------------------------------------------------------


def newest_plan(store: StoreLike, name: str) -> Json:
    """The newest stored plan of a sweep. SweepError, with the names that exist, if there is none."""
    from sweeps.store import plans as stored_plans

    return stored_plans.require_plan(open(store), name)


def _plan_again(store: Store, name: str, changes: Sequence[str] = ()) -> tuple[Json, Plan]:
    """The newest stored plan of a sweep, and the plan that its stored file makes with its own and further changes."""
    from sweeps.spec import loader, yaml_document

    stored = newest_plan(store, name)
    if not {"tiny", "changes"} <= stored.keys():
        raise SweepError(
            f"sweep {name!r}",
            "an older version planned it, without recording --tiny and --set",
            "a plan of this version",
            f"the command that planned it: {stored['command']}",
        )
    source = yaml_document.parse(stored["text"], stored["file"])
    sweep = loader.adapt(source, stored["tiny"], (*stored["changes"], *changes))
    return stored, _expand(LoadedSweep(sweep, None), store, pending=False)


def read(store: StoreLike, name: str) -> Study:
    """The results of a sweep: records as a table, intervals and differences."""
    from analysis import study

    return study.read(open(store), name)


def report(store: StoreLike, name: str) -> Report:
    """The report of a sweep as data: table, verdicts and figures; `analysis.report.formats` writes it."""
    from analysis.report import build

    return build.build(open(store), name)


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

    They run without Ray unless `options.address` says otherwise. arm, seed: only these trials. into: the store that
    keeps the new results; None: they are deleted.
    """
    from cluster.driver import reproduction
    from cluster.driver.execution import NoEvents

    store, options = open(store), options or RunOptions()
    stored, planned = _plan_again(store, name)
    trials = reproduction.finished_trials(stored, store, arm, seed)
    settings = options.settings(tiny=True, inputs=store.uri)
    with tempfile.TemporaryDirectory(prefix="sweeps-reproduce-") as folder:
        return reproduction.run_again(planned, trials, store, open(into or folder), settings, events or NoEvents())


# --- trained networks -------------------------------------------------------------------------------------------------


def find_trial(store: StoreLike, prefix: str) -> str:
    """The id of the trial that starts with `prefix`. SweepError if there is none or more than one."""
    ids = [name for name in open(store).children("trials") if name.startswith(prefix)]
    if len(ids) != 1:
        why = "several trials start with it" if ids else "no trial starts with it"
        raise SweepError(
            f"trial {prefix!r}", why, ", ".join(ids[:8]) or "an id from `sweeps status NAME`", "a complete id"
        )
    return ids[0]


def predict(
    store: StoreLike,
    trial: str,
    images: Sequence[str | Path],
    *,
    mask: str | None = None,
    text: str | None = None,
) -> Iterator[Prediction]:
    """Fill a hole in image files, or find inpainted regions, with the network of a finished trial.

    trial: its id or the start of it. mask: the hole for an inpainter, X,Y,W,H in px or an image in which it is white.
    text: what the images show, for an inpainter that takes captions. The network is loaded at once; the images are
    processed one by one, and an image that cannot be used gives a prediction with its error.
    """
    from cluster.worker import prediction

    store = open(store)
    return prediction.predictions(store, find_trial(store, trial), [Path(image) for image in images], mask, text)
