"""Verbs for clusters: check whether one is ready for a sweep, and submit a sweep to it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sweeps import api
from sweeps.cli import common
from sweeps.errors import SweepError


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(submit, "submit", "submit a sweep to a Ray cluster as a job, and follow it")
    common.add_sweep_file(parser)
    common.add_store(parser)
    parser.add_argument("--address", required=True, help="dashboard of the cluster: http://HOST:8265")
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the data sets on the nodes (default: $SWEEPS_DATA there)"
    )
    parser.add_argument(
        "--working-dir", metavar="DIR", type=Path, help="folder to upload (default: the current folder)"
    )
    parser.add_argument("--runtime-env", metavar="FILE", type=Path, help="runtime environment of Ray (YAML)")
    parser.add_argument("--detach", action="store_true", help="do not wait for the end of the job")
    common.add_run_options(parser)

    parser = verbs.add(
        doctor, "doctor", "check whether this machine, a cluster and a store are ready for a sweep, and suggest fixes"
    )
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument("--address", help="a running Ray: auto, or HOST:PORT (default: check this machine only)")


def doctor(options: argparse.Namespace) -> int:
    """Print one line for each check."""
    from cluster.connection import doctor as checks

    failed = 0
    root = common.data_root(options)
    for line in checks.run_checks(options.address, api.open(options.store), str(root) if root else None):
        print(f"{line.state:7} {line.what}", flush=True)
        if line.do:
            print(f"        do: {line.do}")
        failed += line.state == "failed"
    print(f"{failed} checks failed" if failed else "ready for a sweep")
    return common.FAILED if failed else common.DONE


def submit(options: argparse.Namespace) -> int:
    """Submit a sweep to a cluster and follow the job unless --detach is given."""
    from cluster.connection import submit as jobs

    folder = options.working_dir or Path.cwd()
    file = jobs.relative_file(options.file, folder)
    common.print_notes(api.plan(common.load_sweep(options)))  # reports mistakes in the file here, not on the cluster
    _check_store(options.store)
    store = [] if "://" in options.store else [Path(options.store)]
    submission = jobs.Submission(
        address=options.address,
        folder=folder,
        arguments=(file, *_run_arguments(options)),
        skipped=tuple(store + ([Path(options.data)] if options.data else [])),
        runtime_env=_runtime_env(options.runtime_env),
    )
    job = jobs.submit(submission)
    follow = f"ray job logs --follow --address {options.address} {job}"
    stop = f"sweeps stop NAME --store {options.store}"
    print(f"job {job} runs at {options.address}; follow it with: {follow}")
    print(f"stop it after the current epochs with: {stop}", flush=True)
    if options.detach:
        return common.DONE
    try:
        return common.DONE if jobs.follow(options.address, job) else common.FAILED
    except KeyboardInterrupt:
        print(
            f"\njob {job} goes on; follow it with: {follow}; "
            f"stop it with: {stop}, or ray job stop --address {options.address} {job}",
            file=sys.stderr,
        )
        return common.INTERRUPTED


def _check_store(store: str) -> None:
    """Refuse a relative folder: it would be in the working directory of the job, which Ray deletes."""
    if "://" in store:
        return
    if not Path(store).is_absolute():
        raise SweepError(
            f"--store {store}",
            "a relative folder is deleted with the job on the cluster",
            "s3://BUCKET/PREFIX, or the absolute path of a folder that every node has mounted",
            "--store s3://BUCKET/PREFIX",
        )
    print(f"warning: the store is the folder {store}; every node must have it mounted at that path", file=sys.stderr)


def _run_arguments(options: argparse.Namespace) -> list[str]:
    """The arguments of `sweeps run` on the cluster."""
    values: list[tuple[str, Any]] = [
        *(("--set", change) for change in options.set),
        ("--store", options.store),
        ("--data", options.data),
        ("--max-concurrent", options.max_concurrent),
        ("--time-budget", options.time_budget and f"{options.time_budget:g}s"),
        ("--stop-after-failures", options.stop_after_failures),
        ("--checkpoint-every", f"{options.checkpoint_every:g}"),
        ("--log", options.log),
    ]
    flags = [name for name in ("tiny", "retry", "replace", "quiet") if getattr(options, name)]
    return [f"{name}={value}" for name, value in values if value is not None] + [f"--{name}" for name in flags]


def _runtime_env(file: Path | None) -> dict[str, Any]:
    """Read a runtime environment from a YAML file."""
    import yaml

    if file is None:
        return {}
    try:
        environment = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise SweepError(
            f"--runtime-env {file}", why, "a YAML file", "see cluster/manifests/runtime_env.yaml"
        ) from error
    if not isinstance(environment, dict) or "working_dir" in environment:
        raise SweepError(
            f"--runtime-env {file}",
            "this command sets `working_dir` itself" if isinstance(environment, dict) else "it is not a mapping",
            "a runtime environment of Ray without working_dir (env_vars, pip, ...)",
            "see cluster/manifests/runtime_env.yaml; --working-dir names another folder",
        )
    return environment
