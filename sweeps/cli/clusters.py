"""Verbs for clusters: look whether one is fit for a sweep, and send a sweep there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sweeps.cli import common
from sweeps.errors import SweepError


def doctor(options: argparse.Namespace) -> int:
    """One line a check; FAILED where one of them fails."""
    from cluster.connection import doctor as checks

    failed = 0
    data_root = str(Path(options.data).resolve()) if options.data else None
    for line in checks.examine(options.address, common.store(options), data_root):
        print(f"{line.state:7} {line.what}", flush=True)
        if line.do:
            print(f"        do: {line.do}")
        failed += line.state == "failed"
    print(f"{failed} checks failed" if failed else "nothing stands in the way of a sweep")
    return common.FAILED if failed else common.DONE


def submit(options: argparse.Namespace) -> int:
    """Send a sweep to a cluster and follow it, unless --detach."""
    from cluster.connection import submit as jobs

    folder = options.working_dir or Path.cwd()
    file = jobs.relative_file(options.file, folder)
    common.load(options)  # a mistake in the file shows here, not on the cluster
    _check_store(options.store)
    store = [] if "://" in options.store else [Path(options.store)]
    submission = jobs.Submission(
        address=options.address,
        folder=folder,
        arguments=(file, *_forwarded(options)),
        skipped=tuple(store + ([Path(options.data)] if options.data else [])),
        runtime_env=_runtime_env(options.runtime_env),
    )
    job = jobs.submit(submission)
    print(f"job {job} runs at {options.address}; follow: ray job logs --follow --address {options.address} {job}")
    print(f"end it after the epochs at hand: sweeps stop NAME --store {options.store}", flush=True)
    if options.detach:
        return common.DONE
    try:
        return common.DONE if jobs.follow(options.address, job) else common.FAILED
    except KeyboardInterrupt:
        print(
            f"\njob {job} goes on; follow: ray job logs --follow --address {options.address} {job}; "
            f"end: sweeps stop NAME --store {options.store}, or ray job stop --address {options.address} {job}",
            file=sys.stderr,
        )
        return common.INTERRUPTED


def _check_store(store: str) -> None:
    """A relative folder would lie in the job's own working directory, which Ray deletes."""
    if "://" in store:
        return
    if not Path(store).is_absolute():
        raise SweepError(
            f"--store {store}",
            "on the cluster that is a folder which goes away with the job",
            "s3://BUCKET/PREFIX, or the absolute path of a folder that every node has mounted",
            "--store s3://BUCKET/PREFIX",
        )
    print(f"warning: the store is the folder {store}: every node must have it mounted there", file=sys.stderr)


def _forwarded(options: argparse.Namespace) -> list[str]:
    """The options of `sweeps run` on the cluster, as they were given here."""
    given: list[tuple[str, Any]] = [
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
    return [f"{name}={value}" for name, value in given if value is not None] + [f"--{name}" for name in flags]


def _runtime_env(file: Path | None) -> dict[str, Any]:
    """The runtime environment in a YAML file."""
    import yaml

    if file is None:
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise SweepError(
            f"--runtime-env {file}", why, "a YAML file", "see cluster/manifests/runtime_env.yaml"
        ) from error
    if not isinstance(found, dict) or "working_dir" in found:
        raise SweepError(
            f"--runtime-env {file}",
            "it is no mapping" if not isinstance(found, dict) else "`working_dir` is what this command uploads",
            "a runtime environment of Ray without working_dir (env_vars, pip, ...)",
            "see cluster/manifests/runtime_env.yaml; --working-dir names another folder",
        )
    return found
