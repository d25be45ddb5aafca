"""Verbs for clusters: check whether one is ready for a sweep, and submit a sweep to it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sweeps import api
from sweeps.cli import common
from sweeps.errors import JobLostError


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(submit, "submit", "submit a sweep to a Ray cluster as a job and print its log")
    common.add_sweep_file(parser)
    common.add_store(parser)
    parser.add_argument("--address", required=True, help="address of the cluster's Ray dashboard: http://HOST:8265")
    common.add_data(parser, "folder of the data sets on the nodes (default: $SWEEPS_DATA there)")
    parser.set_defaults(data=None)
    parser.add_argument(
        "--working-dir", metavar="DIR", type=Path, help="folder to upload (default: the current folder)"
    )
    parser.add_argument("--runtime-env", metavar="FILE", type=Path, help="YAML file with a Ray runtime environment")
    parser.add_argument(
        "--detach", action="store_true", help="return at once instead of printing the log until the job ends"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=common.duration,
        default=api.ClusterJob.timeout_s,
        help="give up if the cluster has not accepted the job, or not started it, after this time (default: 10m)",
    )
    common.add_run_options(parser)
    common.add_failed_trials_exit(parser)

    parser = verbs.add(
        doctor, "doctor", "check whether this machine, a cluster and a store are ready for a sweep, and suggest fixes"
    )
    common.add_store(parser)
    common.add_data(parser)
    parser.add_argument(
        "--address", help="also check a running Ray: auto or HOST:PORT (default: check this machine only)"
    )
    common.add_json(parser)


def doctor(options: argparse.Namespace) -> int:
    """Print one line for each check."""
    found = api.doctor(options.store, address=options.address, data=options.data)
    if options.json:
        from sweeps.cli.programs import doctor_json, json_document

        document = doctor_json.doctor(found)
        json_document.write(document)
        return common.DONE if document.ready else common.FAILED
    failed = 0
    for line in found:
        print(f"{line.state:7} {line.what}", flush=True)
        if line.do:
            print(f"        do: {line.do}")
        failed += line.state == "failed"
    print(f"{failed} checks failed" if failed else "ready for a sweep")
    return common.FAILED if failed else common.DONE


def submit(options: argparse.Namespace) -> int:
    """Submit a sweep to a cluster and follow the job unless --detach is given; returns the exit code of the job."""
    sweep = common.load_sweep(options)
    common.print_notes(api.plan(sweep))
    cluster = api.ClusterJob(
        options.address,
        options.working_dir,
        options.runtime_env,
        options.quiet,
        timeout_s=options.timeout,
        failed_trials_exit=options.failed_trials_exit,
    )
    job = api.submit(sweep, options.store, cluster, common.run_options(options))
    if "://" not in options.store:
        words = f"the store is the folder {options.store}; every node must have it mounted at that path"
        print(f"warning: {words}", file=sys.stderr)
    follow = f"ray job logs --follow --address {options.address} {job}"
    stop = f"sweeps stop {sweep.name} --store {options.store}"
    print(f"job {job} runs at {options.address}; follow it with: {follow}")
    print(f"stop it after the current epochs with: {stop}", flush=True)
    if options.detach:
        return common.DONE
    try:
        return api.follow(options.address, job, timeout_s=options.timeout)
    except JobLostError as error:
        print(f"error: {error}", file=sys.stderr)
        return common.FAILED
    except KeyboardInterrupt:
        print(
            f"\njob {job} goes on; follow it with: {follow}; "
            f"stop it with: {stop}, or ray job stop --address {options.address} {job}",
            file=sys.stderr,
        )
        return common.INTERRUPTED
