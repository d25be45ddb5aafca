"""Exit codes, the registry of verbs, and the arguments that several verbs take."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sweeps import api, data_roots, sizes
from sweeps.durations import seconds

if TYPE_CHECKING:
    from sweeps.spec.plan import Plan

DONE, FAILED, USER_ERROR, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""Exit codes: all trials are done; some failed or are missing; a mistake of the user; Ctrl-C; SIGTERM."""
DEFAULT_STORE = "./store"

Verb = Callable[[argparse.Namespace], int]
"""Runs a verb and returns the exit code."""


class Verbs:
    """The verbs of the command; each verb group adds its own in `register`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(required=True, metavar="VERB")

    def add(self, verb: Verb, name: str, text: str) -> argparse.ArgumentParser:
        """The parser of a new verb. text: what it does, for the help."""
        parser = self._parsers.add_parser(name, help=text, description=text)
        parser.set_defaults(verb=verb)
        return parser


# --- arguments --------------------------------------------------------------------------------------------------------


def add_sweep_file(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    text = "sweep file (YAML), or the name of a shipped study"
    file = parser.add_argument("file", metavar="FILE", nargs="?" if optional else None, help=text)
    complete(file, _study_names, files=True)
    add_size(parser)
    add_changes(parser, "change a value of the file, e.g. epochs=3; can be repeated")
    parser.add_argument(
        "--set-for",
        metavar=("NAME", "KEY=VALUE"),
        nargs=2,
        action="append",
        default=[],
        help="change a value of a sweep that this one depends on, e.g. --set-for forgers data.train=2000",
    )


def complete(argument: argparse.Action, names: Callable[[], Iterable[str]], files: bool = False) -> None:
    """Let a shell complete an argument with names, and with YAML files if `files`."""

    def completer(prefix: str, **_: object) -> list[str]:
        found = [name for name in names() if name.startswith(prefix)]
        if files:
            from argcomplete.completers import FilesCompleter

            found += FilesCompleter(["yaml", "yml"])(prefix)
        return found

    argument.completer = completer  # type: ignore[attr-defined]  # argcomplete reads this attribute


def _study_names() -> list[str]:
    from sweeps.spec.studies import studies

    return [study.stem for study in studies()]


def add_size(parser: argparse.ArgumentParser) -> None:
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        choices=sizes.SIZES,
        default=sizes.FULL,
        help="how large: full (default), small (within an hour on two cores), tiny (seconds, without Ray); small and "
        "tiny are sweeps of their own, whose names end in the size",
    )
    size.add_argument("--tiny", dest="size", action="store_const", const=sizes.TINY, help="short for --size tiny")


def add_json(parser: argparse.ArgumentParser, text: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def add_changes(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=text)


def add_sweep_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of a sweep")


def add_trial(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("trial", metavar="TRIAL", help=text)


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        metavar="URI",
        default=os.environ.get("SWEEPS_STORE", DEFAULT_STORE),
        help="store: a folder, s3://bucket/prefix, or, to read from, FILE.zip of `sweeps archive` "
        f"(default: $SWEEPS_STORE, otherwise {DEFAULT_STORE})",
    )


class _Folders(argparse.Action):
    """Each `--data` adds a folder; the first one takes the place of the default."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        before = getattr(options, self.dest)
        setattr(options, self.dest, (*(before if isinstance(before, tuple) else ()), values))


def add_data(
    parser: argparse.ArgumentParser, text: str = "folder of the data sets, can be repeated (default: $SWEEPS_DATA)"
) -> None:
    parser.add_argument(
        "--data", metavar="DIR", action=_Folders, default=os.environ.get(data_roots.VARIABLE), help=text
    )


def add_failed_trials_exit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--failed-trials-exit",
        metavar="CODE",
        type=_exit_status,
        default=FAILED,
        help="exit code if only failed trials are left, which the same command does not run again "
        f"(default: {FAILED}); 0 keeps a scheduler from retrying such a sweep",
    )


def _exit_status(text: str) -> int:
    if not text.isdecimal() or int(text) > 125:
        raise argparse.ArgumentTypeError(f"{text!r} is not an exit code from 0 to 125")
    return int(text)


def add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        help="where to run: local (start Ray on this machine; default), auto or HOST:PORT (use a running Ray), "
        "in-process (run without Ray; default with --tiny)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How to run a sweep, on this machine or as a job."""
    parser.add_argument(
        "--max-concurrent",
        metavar="N",
        type=_positive,
        help="maximum number of trials that run at the same time (default: as many as fit)",
    )
    parser.add_argument(
        "--retry", nargs="?", const="failed", choices=["failed"], help="also run trials that failed before"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace the stored plan of this name by other values, also of arms that have results",
    )
    add_accept_changed_data(parser)
    parser.add_argument(
        "--accept-leaks",
        action="store_true",
        help="go on although photographs, or copies of them, are in two splits of the data; the report says how many",
    )
    add_arms(parser)
    parser.add_argument(
        "--time-budget", metavar="TIME", type=duration, help="stop gracefully after this time, e.g. 90s, 30m, 8h or 2d"
    )
    parser.add_argument(
        "--stop-after-failures", metavar="N", type=_positive, help="stop gracefully after N failed trials"
    )
    parser.add_argument(
        "--checkpoint-every",
        metavar="SECONDS",
        type=_not_negative,
        default=20.0,
        help="least time between checkpoints (default: 20; 0: one after every epoch)",
    )
    parser.add_argument(
        "--log", choices=["tensorboard", "mlflow", "wandb"], help="also write the records of each epoch for this tool"
    )
    parser.add_argument(
        "--log-to",
        metavar="PLACE",
        help="where --log writes: a folder for tensorboard, a tracking URI for mlflow, a project for wandb "
        "(default: logs/ in the store)",
    )
    add_quiet(parser)
    parser.set_defaults(fresh=False, retrain_stale=False)


def add_arms(parser: argparse.ArgumentParser) -> None:
    text = 'run only these arms, e.g. "A, B"; the stored plan stays whole'
    parser.add_argument("--arms", metavar="NAMES", action="append", default=[], help=text)
    parser.add_argument("--skip-arms", metavar="NAMES", action="append", default=[], help="run all arms but these")


def add_accept_changed_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="go on although earlier trials of the sweep have read other files under the same path; the report says so",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print only errors")


def duration(text: str) -> float:
    if text[-1:].isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} has no unit; write 90s, 30m, 8h or 2d")
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}; write 90s, 30m, 8h or 2d") from None


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


# --- values of arguments ----------------------------------------------------------------------------------------------


def load_sweep(options: argparse.Namespace) -> api.LoadedSweep:
    """The sweep of the arguments of `add_sweep_file`."""
    changes_for: dict[str, list[str]] = {}
    for name, change in options.set_for:
        changes_for.setdefault(name, []).append(change)
    return api.load(options.file, size=options.size, changes=options.set, changes_for=changes_for)


def print_notes(plan: Plan) -> None:
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)


def run_options(options: argparse.Namespace) -> api.RunOptions:
    """The arguments of `run`, `resume` and `submit` with their types."""
    return api.RunOptions(
        address=options.address,
        data=options.data,
        max_concurrent=options.max_concurrent,
        retry=options.retry is not None,
        fresh=options.fresh,
        retrain_stale=options.retrain_stale,
        accept_changed_data=options.accept_changed_data,
        accept_leaks=options.accept_leaks,
        replace=options.replace,
        arms=tuple(options.arms),
        skip_arms=tuple(options.skip_arms),
        time_budget_s=options.time_budget,
        stop_after_failures=options.stop_after_failures,
        checkpoint_every_s=options.checkpoint_every,
        log=options.log,
        log_to=options.log_to,
        restart=options.restart,
        command=options.command,
    )
