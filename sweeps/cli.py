"""The `sweeps` command. Each verb imports what it needs inside itself, so that `sweeps check` starts at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.store import Store

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all trials done; some failed or missing; the user's mistake; Ctrl-C."""

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
            "--store", metavar="URI", default=store, help=f"folder of the results (default: {DEFAULT_STORE})"
        )

    check = verb(_check, "check", "check a sweep file: the resolved trials, and where each value comes from")
    takes_file(check)
    check.add_argument("--arm", metavar="NAME", help="show this arm only")

    plan = verb(_plan, "plan", "what a sweep would run: trials, what the store has of them, how long the rest takes")
    takes_file(plan)
    takes_store(plan)
    _takes_place(plan)
    plan.add_argument("--measure", action="store_true", help="time a few steps of what the store has no times of")

    run = verb(_run, "run", "run a sweep, or go on with it")
    takes_file(run)
    takes_store(run)
    _takes_settings(run)
    run.add_argument("--fresh", action="store_true", help="train the planned trials again, also those that are done")

    resume = verb(_resume, "resume", "go on with a sweep of the store, by its name")
    resume.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(resume)
    _takes_settings(resume)
    resume.set_defaults(fresh=False)

    stop = verb(_stop, "stop", "end a sweep gracefully: its trials save a checkpoint after the epoch at hand")
    stop.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(stop)

    gc = verb(_gc, "gc", "delete checkpoints that nothing needs any more")
    gc.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name (default: all trials of the store)")
    takes_store(gc)

    status = verb(_status, "status", "how far a sweep is; without NAME: which sweeps there are")
    status.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name")
    takes_store(status)

    show = verb(_show, "show", "one trial whole: configuration, records, attempts, provenance")
    show.add_argument("trial", metavar="TRIAL", help="a trial's id, or the start of one")
    takes_store(show)

    report = verb(_report, "report", "the table, figures and verdicts of a sweep")
    report.add_argument("name", metavar="NAME", help="a sweep's name")
    takes_store(report)
    report.add_argument(
        "--out", metavar="DIR", type=Path, help="write report files there (default: print the table only)"
    )
    report.add_argument(
        "--format", metavar="LIST", default="html,md,csv", help="which files: html,md,csv (default: all)"
    )
    return parser


def _takes_place(added: argparse.ArgumentParser) -> None:
    """Where to run, on which data."""
    data = os.environ.get("SWEEPS_DATA")
    added.add_argument("--data", metavar="DIR", default=data, help="data sets (default: $SWEEPS_DATA)")
    added.add_argument(
        "--address",
        help="local: a Ray of its own (default); auto, HOST:PORT: a running one; in-process: none (--tiny's default)",
    )


def _takes_settings(added: argparse.ArgumentParser) -> None:
    """How to run, for the verbs that do."""
    _takes_place(added)
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

    here = Path(__file__).resolve().parent.parent
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


# --- verbs ------------------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace) -> Plan:
    from sweeps import plan, spec
    from trainables import schema

    expanded = plan.expand(spec.load(options.file, options.tiny, tuple(options.set)), schema)
    for note in expanded.notes:
        print(f"note: {note}", file=sys.stderr)
    return expanded


def _store(options: argparse.Namespace) -> Store:
    from sweeps.store import open_store

    return open_store(options.store)


def _check(options: argparse.Namespace) -> int:
    from sweeps import terminal

    plan = _load(options)
    chosen = [arm for arm in plan.arms if options.arm in (None, arm.name)]
    if not chosen:
        from sweeps.spec import unknown

        raise unknown(f"--arm {options.arm!r}", options.arm, [arm.name for arm in plan.arms])
    terminal.check(plan, chosen)
    return DONE


def _plan(options: argparse.Namespace) -> int:
    from cluster import drive, measure
    from sweeps import terminal
    from trainables import schema

    store = _store(options)
    work = drive.work_left(_load(options), store, schema)
    address = options.address or (drive.IN_PROCESS if options.tiny else "local")
    data_root = Path(options.data).resolve() if options.data else None
    terminal.plan(work, None if work.nothing else measure.estimate(work, store, address, data_root, options.measure))
    return DONE


def _run(options: argparse.Namespace) -> int:
    return _go(options, _load(options), _store(options))


def _resume(options: argparse.Namespace) -> int:
    """Run a sweep from the file that its newest plan holds, with the changes that were made to it then."""
    from sweeps import document, plan, spec
    from trainables import schema

    store = _store(options)
    stored = _newest_plan(store, options.name)
    if not {"tiny", "changes"} <= stored.keys():
        why = "an older version planned it, without noting --tiny and --set"
        raise SweepError(
            f"sweep {options.name!r}",
            why,
            "a plan of this version",
            f"the command that planned it: {stored['command']}",
        )
    source = document.parse(stored["text"], stored["file"])
    options.tiny = stored["tiny"]
    return _go(options, plan.expand(spec.adapt(source, stored["tiny"], tuple(stored["changes"])), schema), store)


def _go(options: argparse.Namespace, plan: Plan, store: Store) -> int:
    from cluster import drive
    from sweeps import changes, ledger, progress, terminal
    from sweeps.watch import Watch
    from trainables import schema

    settings = drive.Settings(
        address=options.address or (drive.IN_PROCESS if options.tiny else "local"),
        data_root=str(Path(options.data).resolve()) if options.data else None,
        max_concurrent=options.max_concurrent,
        retry=bool(options.retry),
        checkpoint_s=options.checkpoint_every,
        budget_s=options.time_budget,
        failures=options.stop_after_failures,
        log=options.log,
        command=options.command,
    )
    if not options.replace:
        changes.refuse_changed_arms(ledger.newest_plan(store, plan.name), plan, store)
    if options.fresh:
        drive.check(plan, settings)  # before anything is deleted
        drive.forget(plan, store)
    work = drive.work_left(plan, store, schema, settings.retry)
    if not work.nothing:
        drive.check(work.plan, settings)  # before anything is written
    stored = drive.write(work.plan, store, settings.command)
    if not options.quiet:
        terminal.plan(work)
    left = work
    if not work.nothing:
        with Watch(len(work.jobs) + work.cached, work.cached, _shown_metric(plan), options.quiet) as watch:
            drive.run(work, store, schema, settings, watch)
        stored = ledger.newest_plan(store, plan.name) or stored
        left = drive.work_left(plan, store, schema)
    if not options.quiet:
        terminal.outcome(stored, progress.trial_states(store, stored), options.store)
    return DONE if left.nothing and not left.failed else FAILED


def _shown_metric(plan: Plan) -> str:
    """The column whose best value the progress shows: the search's, else the first of the report, on validation."""
    search = plan.sweep.spec.search
    return search.metrics[0] if search else plan.sweep.spec.report.metrics[0].replace("test/", "val/")


def _stop(options: argparse.Namespace) -> int:
    from sweeps import ledger

    store = _store(options)
    _newest_plan(store, options.name)
    ledger.request_stop(store, options.name)
    print(f"asked the drivers of {options.name} to end after the epochs at hand; sweeps resume {options.name} goes on")
    return DONE


def _gc(options: argparse.Namespace) -> int:
    from cluster.leases import Leases
    from sweeps import ledger

    store = _store(options)
    if options.name:
        arms = _newest_plan(store, options.name)["arms"]
        trials = sorted({trial["id"] for arm in arms for trial in arm["trials"].values()})
    else:
        trials = store.children("trials")
    leases = Leases(store)
    dropped = sum(ledger.collect(store, trial) for trial in trials if leases.free_after(trial) is not None)
    print(f"{dropped} checkpoints deleted, of {len(trials)} trials looked at")
    return DONE


def _status(options: argparse.Namespace) -> int:
    from sweeps import ledger, progress, terminal, tries

    store = _store(options)
    if options.name is None:
        names = ledger.sweep_names(store)
        terminal.sweeps(store, names)
        return DONE
    stored = _newest_plan(store, options.name)
    terminal.status(stored, progress.trial_states(store, stored), tries.search_states(store, stored))
    return DONE


def _show(options: argparse.Namespace) -> int:
    from sweeps import terminal

    terminal.trial(_store(options), options.trial)
    return DONE


def _report(options: argparse.Namespace) -> int:
    from analysis import report
    from sweeps import terminal

    built = report.build(_store(options), options.name)
    terminal.show(built.terminal())
    if options.out is not None:
        for path in report.write(built, options.out, tuple(options.format.split(","))):
            print(path)
    return DONE


def _newest_plan(store: Store, name: str) -> dict[str, Any]:
    from sweeps import ledger

    names = ledger.sweep_names(store)
    newest = ledger.newest_plan(store, name) if name in names else None
    if newest is None:
        known = ", ".join(names) or "none: there is no sweep in it yet"
        raise SweepError(f"sweep {name!r}", f"the store {store.uri} has no plan of this name", known, "sweeps status")
    return newest


if __name__ == "__main__":
    sys.exit(main())
