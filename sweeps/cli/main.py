"""The `sweeps` command. The verbs are beside this file; each imports what it needs inside itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.cli import clusters, networks, reporting, running
from sweeps.cli import dashboard as dashboard_verb
from sweeps.cli import show as show_verbs
from sweeps.cli.common import DONE, INTERRUPTED, USER_ERROR
from sweeps.errors import SweepError

DEFAULT_STORE = "./store"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    options.command = ("sweeps", *(sys.argv[1:] if arguments is None else arguments))
    try:
        _check_packages()
        code: int = options.verb(options)
        sys.stdout.flush()  # a reader that has gone shows here, not when Python ends
        return code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except ValueError as error:
        if not hasattr(error, "allowed"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweeps", description="Ablation studies of image inpainting, from YAML to report."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(function: Any, name: str, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(verb=function)
        return added

    def takes_file(added: argparse.ArgumentParser) -> None:
        added.add_argument("file", metavar="FILE", type=Path, help="a sweep file (YAML)")
        added.add_argument("--tiny", action="store_true", help="its small form: seconds, in-process, named NAME-tiny")
        added.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a value of the file")

    def takes_store(added: argparse.ArgumentParser) -> None:
        store = os.environ.get("SWEEPS_STORE", DEFAULT_STORE)
        added.add_argument(
            "--store",
            metavar="URI",
            default=store,
            help=f"folder or s3://bucket/prefix of the results (default: {DEFAULT_STORE})",
        )

    check = verb(running.check, "check", "check a sweep file: the resolved trials, and where each value comes from")
    takes_file(check)
    check.add_argument("--arm", metavar="NAME", help="show this arm only")

    plan = verb(
        running.plan, "plan", "what a sweep would run: trials, what the store has of them, how long the rest takes"
    )
    takes_file(plan)
    takes_store(plan)
    _takes_place(plan)
    plan.add_argument("--measure", action="store_true", help="time a few steps of what the store has no times of")

    run = verb(running.run, "run", "run a sweep, or go on with it")
    takes_file(run)
    takes_store(run)
    _takes_settings(run)
    run.add_argument("--fresh", action="store_true", help="train the planned trials again, also those that are done")

    submit = verb(clusters.submit, "submit", "send a sweep to a Ray cluster as a job, and follow it")
    takes_file(submit)
    takes_store(submit)
    submit.add_argument("--address", required=True, help="the cluster's dashboard: http://HOST:8265")
    submit.add_argument("--data", metavar="DIR", help="data sets, on the nodes (default: their $SWEEPS_DATA)")
    submit.add_argument("--working-dir", metavar="DIR", type=Path, help="what to upload (default: this folder)")
    submit.add_argument("--runtime-env", metavar="FILE", type=Path, help="a runtime environment of Ray (YAML)")
    submit.add_argument("--detach", action="store_true", help="do not wait for the job's end")
    _takes_manner(submit)

    resume = verb(running.resume, "resume", "go on with a sweep of the store, by its name")
    resume.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(resume)
    resume.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change a value of its file, e.g. seeds=8"
    )
    _takes_settings(resume)
    resume.set_defaults(fresh=False)

    forge = verb(networks.forge, "forge", "make a set of real and inpainted images, or go on with it")
    forge.add_argument("file", metavar="FILE", type=Path, help="a forge file (YAML): the block `data.forged` alone")
    takes_store(forge)
    _takes_data(forge)
    forge.add_argument("--quiet", action="store_true", help="say nothing but errors")

    predict = verb(
        networks.predict, "predict", "fill a hole of an image, or find what was filled, with a trained network"
    )
    predict.add_argument("trial", metavar="TRIAL", help="a finished trial's id, or the start of one")
    predict.add_argument("image", metavar="IMAGE", nargs="+", type=Path, help="image files of any kind and size")
    takes_store(predict)
    predict.add_argument("--mask", metavar="FILE|X,Y,W,H", help="the hole: white in an image, or a rectangle in px")
    predict.add_argument("--text", metavar="CAPTION", help="what the images show, for an inpainter that takes captions")
    predict.add_argument("--out", metavar="DIR", type=Path, default=Path(), help="folder to write to (default: this)")

    export = verb(networks.export, "export", "write a trained network as safetensors, with a model card")
    export.add_argument("trial", metavar="TRIAL", help="a finished trial's id, or the start of one")
    takes_store(export)
    export.add_argument("--out", metavar="DIR", type=Path, help="folder to write to (default: export-TRIAL)")
    export.add_argument(
        "--format",
        metavar="LIST",
        default="safetensors,exported",
        help="which files, of safetensors,exported,torchscript (default: safetensors,exported)",
    )

    stop = verb(running.stop, "stop", "end a sweep gracefully: its trials save a checkpoint after the epoch at hand")
    stop.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(stop)
    stop.add_argument("--trial", metavar="ID", help="end this trial alone; the others go on")

    gc = verb(running.gc, "gc", "delete checkpoints that nothing needs any more")
    gc.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name (default: all trials of the store)")
    takes_store(gc)

    doctor = verb(clusters.doctor, "doctor", "is this machine, a cluster, a store fit for a sweep? what to do if not")
    takes_store(doctor)
    _takes_data(doctor)
    doctor.add_argument("--address", help="a running Ray: auto, or HOST:PORT (default: this machine alone)")

    status = verb(show_verbs.status, "status", "how far a sweep is; without NAME: which sweeps there are")
    status.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name")
    takes_store(status)

    show = verb(show_verbs.show, "show", "one trial whole: configuration, records, attempts, log, provenance")
    show.add_argument("trial", metavar="TRIAL", help="a trial's id, or the start of one")
    takes_store(show)

    report = verb(reporting.report, "report", "the table, figures and verdicts of sweeps")
    report.add_argument("name", metavar="NAME", nargs="+", help="a sweep's name")
    takes_store(report)
    report.add_argument(
        "--out", metavar="DIR", type=Path, help="write report files there (default: print the table only)"
    )
    report.add_argument("--publish", metavar="URI", help="write report files to a store, below reports/NAME/")
    report.add_argument(
        "--format",
        metavar="LIST",
        default="html,md,csv",
        help="which files, of html,md,tex,csv,parquet (default: html,md,csv)",
    )
    report.add_argument(
        "--redraw", action="store_true", help="first draw the images on which arms disagree, from final checkpoints"
    )
    report.add_argument(
        "--data", metavar="DIR", default=os.environ.get("SWEEPS_DATA"), help="data sets, for --redraw alone"
    )

    claims = verb(reporting.claims, "claims", "the claims of all studies: published, ours, verdict")
    claims.add_argument("name", metavar="NAME", nargs="*", help="a sweep's name (default: all, also those not run)")
    takes_store(claims)
    claims.add_argument("--csv", action="store_true", help="as CSV, with sources and the sentence behind each verdict")

    compare = verb(reporting.compare, "compare", "two sweeps, or one of two stores, side by side: what has drifted")
    compare.add_argument("before", metavar="A", help="a sweep's name")
    compare.add_argument("after", metavar="B", nargs="?", help="another's (default: A, with --with-store)")
    takes_store(compare)
    compare.add_argument("--with-store", metavar="URI", help="where B lies (default: the same store)")

    reproduce = verb(reporting.reproduce, "reproduce", "run finished cells again and say which came out differently")
    reproduce.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(reproduce)
    _takes_place(reproduce)
    reproduce.add_argument("--cell", metavar="ARM", help="this arm only")
    reproduce.add_argument("--seed", metavar="N", type=int, help="this seed only")
    reproduce.add_argument("--into", metavar="URI", help="keep the new results there (default: nowhere)")

    test = verb(
        reporting.export_test, "export-test", "write a study's damaged test images and masks for others to fill"
    )
    test.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(test)
    test.add_argument("--data", metavar="DIR", default=os.environ.get("SWEEPS_DATA"), help="data sets")
    test.add_argument("--arm", metavar="ARM", help="whose images and masks (default: the baseline's)")
    test.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    dashboard = verb(
        dashboard_verb.dashboard, "dashboard", "watch, inspect and resume the sweeps of a store in a browser"
    )
    takes_store(dashboard)
    _takes_data(dashboard)
    dashboard.add_argument(
        "--address",
        help="where its buttons run sweeps: local (default), auto, HOST:PORT; links to that Ray's dashboard",
    )
    dashboard.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine)")
    dashboard.add_argument("--port", type=int, default=8501, help="0 takes a free one (default: 8501)")
    dashboard.add_argument("--token", help="what a reader must know; this or --login where --host is not this machine")
    dashboard.add_argument(
        "--login", metavar="FILE", type=Path, help="in place of a token: a login by OpenID Connect, a TOML file"
    )
    dashboard.add_argument("--optuna", action="store_true", help="also start optuna-dashboard on the searches")
    return parser


def _takes_place(added: argparse.ArgumentParser) -> None:
    """Where to run, on which data."""
    _takes_data(added)
    added.add_argument(
        "--address",
        help="local: a Ray of its own (default); auto, HOST:PORT: a running one; in-process: none (--tiny's default)",
    )


def _takes_data(added: argparse.ArgumentParser) -> None:
    data = os.environ.get("SWEEPS_DATA")
    added.add_argument("--data", metavar="DIR", default=data, help="data sets (default: $SWEEPS_DATA)")


def _takes_settings(added: argparse.ArgumentParser) -> None:
    """Where and how to run, for the verbs that do."""
    _takes_place(added)
    _takes_manner(added)


def _takes_manner(added: argparse.ArgumentParser) -> None:
    added.add_argument("--max-concurrent", metavar="N", type=_positive, help="trials at once (default: what fits)")
    added.add_argument(
        "--retry", nargs="?", const="failed", choices=["failed"], help="try trials again that failed before"
    )
    added.add_argument(
        "--replace", action="store_true", help="let an arm stand for another configuration than its results of before"
    )
    added.add_argument("--time-budget", metavar="TIME", type=_seconds, help="end gracefully after 90s, 30m, 8h or 2d")
    added.add_argument("--stop-after-failures", metavar="N", type=_positive, help="end after so many failed trials")
    added.add_argument(
        "--checkpoint-every",
        metavar="SECONDS",
        type=_not_negative,
        default=20.0,
        help="time between checkpoints (default: 20)",
    )
    added.add_argument(
        "--log", choices=["tensorboard", "mlflow", "wandb"], help="also log the records there, through Ray Tune"
    )
    added.add_argument("--quiet", action="store_true", help="say nothing but errors")


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        seconds = float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 30m, 8h or 2d")
    return seconds


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _check_packages() -> None:
    """`sweeps` and `cluster` are also names of other people's packages: say which one is in the way."""
    import importlib.util

    here = Path(__file__).resolve().parents[2]
    for name in ("sweeps", "trainables", "cluster", "analysis"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != here:
            raise SweepError(
                f"package `{name}`",
                f"it is imported from {found or 'nowhere'}, not from {here}",
                "the one that inpaint-sweeps brings",
                f"uninstall the other package called {name!r} (pip uninstall {name}), or run from another folder",
            )
