"""Clusters in the Python interface: check whether one is ready for a sweep, and submit a sweep to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import data_roots, sizes
from sweeps.api import arguments
from sweeps.api.mappings import PYTHON
from sweeps.api.running import plan
from sweeps.data_roots import DataFolders
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from cluster.connection.doctor.check_result import CheckResult
    from sweeps.api.arguments import LoadedSweep, StoreLike


@dataclass(frozen=True)
class ClusterJob:
    """The cluster that runs a sweep as a job, and what the job gets."""

    address: str
    """Dashboard of the cluster: `http://HOST:8265`."""
    working_dir: Path | None = None
    """Folder to upload, which contains the sweep file; None: the current folder."""
    runtime_env: Path | None = None
    """YAML file with a runtime environment of Ray."""
    quiet: bool = False
    """Whether the job prints only errors."""
    timeout_s: float = 600.0
    """Seconds that the cluster may take to accept the job."""
    failed_trials_exit: int = 1
    """Exit code of the job if only failed trials are left, which the same command does not run again."""


def doctor(store: StoreLike, *, address: str | None = None, data: DataFolders | None = None) -> Iterator[CheckResult]:
    """Check whether this machine, a cluster and a store are ready for a sweep.

    Yields each result as soon as it is known; its `state` is "failed" if a sweep would not run.
    address: a running Ray, `auto` or HOST:PORT; None: check this machine only. data: folder of the data sets; None:
    $SWEEPS_DATA.
    """
    from cluster.connection.doctor import checks

    root = data_roots.local(data)
    return checks.run_checks(address, arguments.plain_store(store), str(root) if root else None)


def submit(sweep: LoadedSweep, store: str | Path, job: ClusterJob, options: RunOptions | None = None) -> str:
    """Start `sweeps run` of a sweep file as a job on a cluster; returns the id of the job.

    store: `s3://bucket/prefix`, or the absolute path of a folder that every node has mounted. options: for the run on
    the cluster; `data` is a folder on its nodes, `address` and `command` are not used. Submitting again is safe: the
    sweep continues from its store.
    Raises SweepError for a mistake in the file, a sweep that was made in Python, a file outside the uploaded folder, a
    relative folder as store, and a cluster that cannot be reached.
    """
    from cluster.connection.jobs import submit as jobs
    from cluster.connection.jobs import working_dir
    from sweeps.spec import studies

    options = options or RunOptions()
    if sweep.folder is None or sweep.sweep.document.name == PYTHON:
        why = "it was read from a store" if sweep.folder is None else "it was made in Python"
        raise SweepError(f"sweep {sweep.name!r}", why, "a sweep file", "sweeps.load(FILE)")
    folder = job.working_dir or Path.cwd()
    path = sweep.folder / sweep.sweep.document.name
    study = studies.find(path.stem)
    if study and study.path.samefile(path) and not path.resolve().is_relative_to(folder.resolve()):
        file = study.stem  # the package on the cluster has it
    else:
        file = working_dir.relative_file(path, folder)
    plan(sweep)  # reports mistakes in the file here, not on the cluster
    skipped = data_roots.split(options.data or ())
    if "://" not in str(store):
        _check_absolute(Path(store))
        skipped.append(Path(store))
    return jobs.submit(
        jobs.Submission(
            address=job.address,
            folder=folder,
            arguments=(file, *_run_arguments(sweep, store, options, job)),
            skipped=tuple(skipped),
            runtime_env=_runtime_env(job.runtime_env),
            timeout_s=job.timeout_s,
        )
    )


def follow(address: str, job: str, *, timeout_s: float = ClusterJob.timeout_s) -> int:
    """Print the log of a job until it ends; returns its exit code: that of `sweeps run`, 0 if every trial is done.

    It is 128 + N if signal N killed the job, 2 if its environment could not be set up, and 1 if it was stopped or lost.

    address: dashboard of the cluster. job: its id, from `submit`. timeout_s: SweepError if the job has not started
    after this time; it stays on the cluster. JobLostError if the dashboard has not answered for two minutes, or does
    not know the job. KeyboardInterrupt does not end the job.
    """
    from cluster.connection.jobs import follow as following

    return following.follow(address, job, timeout_s)


def _check_absolute(store: Path) -> None:
    """Refuse a relative folder: it would be in the working directory of the job, which Ray deletes."""
    if not store.is_absolute():
        raise SweepError(
            f"--store {store}",
            "a relative folder is deleted with the job on the cluster",
            "s3://BUCKET/PREFIX, or the absolute path of a folder that every node has mounted",
            "--store s3://BUCKET/PREFIX",
        )


def _run_arguments(sweep: LoadedSweep, store: str | Path, options: RunOptions, job: ClusterJob) -> list[str]:
    """The arguments of `sweeps run` on the cluster, without the file."""
    budget_s = options.time_budget_s
    values: list[tuple[str, Any]] = [
        *(("--set", change) for change in sweep.sweep.changes),
        *(("--arms", text) for text in options.arms),
        *(("--skip-arms", text) for text in options.skip_arms),
        ("--size", None if sweep.sweep.size == sizes.FULL else sweep.sweep.size),
        ("--store", store),
        ("--data", data_roots.text(options.data) if options.data else None),
        ("--max-concurrent", options.max_concurrent),
        ("--time-budget", None if budget_s is None else f"{budget_s:g}s"),
        ("--stop-after-failures", options.stop_after_failures),
        ("--checkpoint-every", f"{options.checkpoint_every_s:g}"),
        ("--log", options.log),
        ("--log-to", options.log_to),
        ("--failed-trials-exit", None if job.failed_trials_exit == 1 else job.failed_trials_exit),
    ]
    flags = {
        "--retry": options.retry,
        "--fresh": options.fresh,
        "--retrain-stale": options.retrain_stale,
        "--accept-changed-data": options.accept_changed_data,
        "--accept-leaks": options.accept_leaks,
        "--replace": options.replace,
        "--quiet": job.quiet,
    }
    given = [f"{name}={value}" for name, value in values if value is not None]
    for name, changes in sweep.sweep.changes_for.items():
        given += [part for change in changes for part in ("--set-for", name, change)]
    return given + [name for name, is_set in flags.items() if is_set]


def _runtime_env(file: Path | None) -> dict[str, Any]:
    """Read a runtime environment from a YAML file."""
    from sweeps.spec import yaml_document

    if file is None:
        return {}
    fix = "see cluster/manifests/runtime_env.yaml"
    try:
        environment = yaml_document.read(file).value
    except SweepError as error:
        allowed = "a YAML file with a runtime environment of Ray"
        raise SweepError(f"--runtime-env {error.given}", error.why, allowed, fix) from None
    if "working_dir" in environment:
        raise SweepError(
            f"--runtime-env {file}",
            "this command sets `working_dir` itself",
            "a runtime environment of Ray without working_dir (env_vars, pip, ...)",
            f"{fix}; --working-dir names another folder",
        )
    return environment
