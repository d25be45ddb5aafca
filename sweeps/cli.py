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
    try:
        _check_packages()
        code: int = options.verb(options)
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

    plan = verb(_plan, "plan", "what a sweep would run: trials, what the store has of them")
    takes_file(plan)
    takes_store(plan)

    run = verb(_run, "run", "run a sweep, or go on with it")
    takes_file(run)
    takes_store(run)
    run.add_argument(
        "--data", metavar="DIR", default=os.environ.get("SWEEPS_DATA"), help="data sets (default: $SWEEPS_DATA)"
    )
    run.add_argument(
        "--address",
        default="local",
        help="local: a Ray of its own (default); auto or HOST:PORT: a running one; in-process: none",
    )
    run.add_argument("--max-concurrent", metavar="N", type=_positive, help="trials at once (default: what fits)")
    run.add_argument("--retry", action="store_true", help="try trials again that failed before")
    run.add_argument(
        "--checkpoint-every", metavar="SECONDS", type=float, default=20.0, help="time between checkpoints (default: 20)"
    )
    run.add_argument("--quiet", action="store_true", help="say nothing but errors")

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
    from cluster import drive
    from sweeps import terminal

    plan = _load(options)
    terminal.plan(plan, drive.work_left(plan, _store(options)))
    return DONE


def _run(options: argparse.Namespace) -> int:
    from cluster import drive
    from sweeps import progress, terminal
    from sweeps.watch import Watch

    plan, store = _load(options), _store(options)
    command = ("sweeps", *sys.argv[1:])
    settings = drive.Settings(
        address=drive.IN_PROCESS if options.tiny else options.address,
        data_root=str(Path(options.data).resolve()) if options.data else None,
        max_concurrent=options.max_concurrent,
        retry=options.retry,
        checkpoint_s=options.checkpoint_every,
        command=command,
    )
    work = drive.work_left(plan, store, options.retry)
    stored = drive.write(plan, store, command)
    if not options.quiet:
        terminal.plan(plan, work)
    if work.jobs:
        with Watch(len(plan.runs()), work.cached, plan.sweep.spec.report.metrics[0], options.quiet) as watch:
            drive.run(plan, store, work, settings, watch)
    states = progress.trial_states(store, stored)
    if not options.quiet:
        terminal.outcome(stored, states, options.store)
    return DONE if all(state.state == "done" for state in states.values()) else FAILED


def _status(options: argparse.Namespace) -> int:
    from sweeps import ledger, progress, terminal

    store = _store(options)
    if options.name is None:
        names = ledger.sweep_names(store)
        terminal.sweeps(store, names)
        return DONE
    stored = _newest_plan(store, options.name)
    terminal.status(stored, progress.trial_states(store, stored))
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
    from sweeps.spec import unknown

    plans = ledger.read_plans(store, name)
    if not plans:
        raise unknown(f"sweep {name!r}", name, ledger.sweep_names(store))
    return plans[-1]


if __name__ == "__main__":
    sys.exit(main())
