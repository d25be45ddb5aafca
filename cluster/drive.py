"""Run a plan: write it down, run what the store lacks, say what came of it. The driver's side of everything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import provenance
from cluster.feed import Feed, Job, Watcher
from cluster.worker import Options
from sweeps import ledger, progress
from sweeps.errors import SweepError
from sweeps.plan import Plan
from sweeps.record import describe
from sweeps.spec import BEST
from sweeps.store import Store

IN_PROCESS = "in-process"


@dataclass(frozen=True)
class Settings:
    """How to run, which changes no result.

    address: `local` (a Ray of our own), `auto` or HOST:PORT (one that runs), `in-process` (no Ray). data_root: folder
    of the data sets. max_concurrent: trials at once, None for what fits. retry: also those that failed before.
    checkpoint_s: seconds between checkpoints. command: the command line, for provenance.
    """

    address: str = "local"
    data_root: str | None = None
    max_concurrent: int | None = None
    retry: bool = False
    checkpoint_s: float = 20.0
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a plan still asks for.

    jobs: to run. cached: done before. failed: failed before, left alone unless they are tried again.
    """

    jobs: list[Job]
    cached: int
    failed: list[Job]


def work_left(plan: Plan, store: Store, retry: bool = False) -> Work:
    """Compare a plan with the store; looks at no more than one name for each finished trial."""
    states = progress.trial_states(store, plan.to_json([]))
    runs = plan.runs()
    jobs: list[Job] = []
    failed: list[Job] = []
    for trial, label in runs:
        state = states[trial.id].at(trial.epochs)
        if state != "done":
            (failed if state == "failed" and not retry else jobs).append(Job(trial.id, trial.epochs, label))
    return Work(jobs, len(runs) - len(jobs) - len(failed), failed)


def write(plan: Plan, store: Store, command: tuple[str, ...]) -> dict[str, Any]:
    """Put the plan into the store, and every trial that it names."""
    stored = ledger.write_plan(store, plan.name, plan.to_json(list(command)), plan.sweep.document.text, time.time())
    ledger.write_trials(store, (trial for trial, _ in plan.runs()))
    return stored


def run(plan: Plan, store: Store, work: Work, settings: Settings, watch: Watcher) -> None:
    """Run the jobs of `work`. Afterwards the store says how each went."""
    check_data(plan, settings)
    feed = Feed(store, work.jobs, watch)
    if settings.address == IN_PROCESS:
        from cluster import local

        return local.run(feed, _options(plan, store, settings, gpus=_gpus(plan, _local_gpus())))
    from cluster import tuner

    tuner.connect(settings.address)
    try:
        options = _options(plan, store, settings, gpus=_gpus(plan, tuner.gpus_in_cluster()))
        fits = tuner.fits_at_once(options.cpus, options.gpus)
        if not fits:
            raise SweepError(
                f"resources: {options.cpus} CPUs and {options.gpus:g} GPUs a trial",
                "no node of the cluster has as many",
                tuner.largest_node(),
                "lower `resources:` in the sweep file, or --set resources.cpus=1",
            )
        tuner.run(feed, options, min(fits, settings.max_concurrent or fits))
    finally:
        tuner.disconnect()


def _options(plan: Plan, store: Store, settings: Settings, gpus: float) -> Options:
    report = plan.sweep.spec.report
    best = BEST.match(report.at)
    return Options(
        store=store.uri,
        data_root=settings.data_root,
        cpus=plan.sweep.spec.resources.cpus,
        gpus=gpus,
        test_epochs=tuple(report.test_epochs),
        best=(best["column"], describe(best["column"])[1]) if best else None,
        checkpoint_s=settings.checkpoint_s,
        code=provenance.code_version(),
        command=" ".join(settings.command),
    )


def _gpus(plan: Plan, available: float) -> float:
    wanted = plan.sweep.spec.resources.gpus
    if wanted == "auto":
        return 1.0 if available >= 1 else 0.0
    return float(wanted)


def _local_gpus() -> float:
    import torch

    return float(torch.cuda.device_count())


def check_data(plan: Plan, settings: Settings) -> None:
    """Look for the data before anything runs, where the trials run on this machine."""
    if settings.address not in ("local", IN_PROCESS):
        return
    from trainables.data import images

    root = Path(settings.data_root) if settings.data_root else None
    seen: list[Any] = []
    for arm in plan.arms:
        if arm.config["data"] not in seen:
            seen.append(arm.config["data"])
            images.check(arm.config["data"], root)
