"""The verb that tries one change after the other and keeps what is better beyond chance."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sweeps import api
from sweeps.cli import common

if TYPE_CHECKING:
    from sweeps.api.gate.ledger import Ledger

DISCARDED, UNDECIDED = 3, 4
"""Exit codes of `gate try`, beside 0 for a candidate that is kept."""


def register(verbs: common.Verbs) -> None:
    parser = verbs.add(
        status, "gate", "try one change of a program after the other, and keep those that are better beyond chance"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", help="init, try or status")
    _register_init(actions.add_parser("init", help="start a gate: the program as its files are now is the incumbent"))
    _register_try(actions.add_parser("try", help="try the program as its files are now against the incumbent"))
    parser = actions.add_parser("status", help="print the candidates, their verdicts and the error that is left")
    _common(parser, status)


def _common(parser: argparse.ArgumentParser, verb: common.Verb) -> None:
    parser.add_argument("--name", metavar="NAME", default="gate", help="name of the gate (default: gate)")
    common.add_store(parser)
    common.add_json(parser)
    parser.set_defaults(verb=verb)


def _register_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--command",
        metavar="LINE",
        dest="program",
        required=True,
        help='program and arguments, such as "python train.py --seed {seed}"; placeholders as in task command',
    )
    parser.add_argument("--metric", metavar="COLUMN", required=True, help="column that it reports, val/... or test/...")
    parser.add_argument("--goal", choices=("max", "min"), required=True, help="whether higher or lower is better")
    parser.add_argument(
        "--budget", metavar="N", type=int, default=50, help="candidates that can be tried (default: 50)"
    )
    parser.add_argument("--label", default="initial", help="label of the first incumbent (default: initial)")
    parser.add_argument(
        "--code",
        metavar="PATTERN",
        action="append",
        default=[],
        help="files of the program, with * and **; can be repeated (default: what git does not ignore, else all)",
    )
    parser.add_argument(
        "--epochs", metavar="N", type=int, default=1, help="records of a run, of which the last counts (default: 1)"
    )
    parser.add_argument(
        "--timeout", metavar="TIME", type=common.duration, default=3600.0, help="longest time without a record (1h)"
    )
    parser.add_argument("--cpus", metavar="N", type=int, default=1, help="CPU threads of a run (default: 1)")
    parser.add_argument("--gpus", metavar="N", type=float, help="GPUs of a run (default: one if the machine has any)")
    _common(parser, init)


def _register_try(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", required=True, help="what the candidate changes, in a few words")
    parser.add_argument(
        "--command", metavar="LINE", dest="program", help="command of the candidate (default: that of the incumbent)"
    )
    parser.add_argument(
        "--abandon", action="store_true", help="first discard a candidate that was interrupted, with what it has"
    )
    parser.add_argument(
        "--address",
        help="where to run: in-process (default), auto or HOST:PORT (a running Ray, which runs both programs of a pair "
        "at once), local (start a Ray for each pair, which takes longer)",
    )
    common.add_data(parser)
    common.add_quiet(parser)
    _common(parser, attempt)


def init(options: argparse.Namespace) -> int:
    found = api.gate_init(
        options.store,
        options.program,
        options.metric,
        goal=options.goal,
        budget=options.budget,
        name=options.name,
        label=options.label,
        code=options.code,
        epochs=options.epochs,
        timeout=options.timeout,
        resources={"cpus": options.cpus} | ({} if options.gpus is None else {"gpus": options.gpus}),
    )
    if options.json:
        return _json(found)
    print(
        f"gate {found.settings.name!r} with the incumbent {options.label!r}, for {options.budget} candidates. "
        'Change the program, then: sweeps gate try --label "what is new"'
    )
    return common.DONE


def attempt(options: argparse.Namespace) -> int:
    quiet = options.quiet or options.json
    found, decision = api.gate_try(
        options.store,
        options.label,
        name=options.name,
        command=options.program,
        abandon=options.abandon,
        options=api.RunOptions(address=options.address, data=options.data, command=options.command),
        progress=None if quiet else lambda sentence: print(sentence, file=sys.stderr, flush=True),
    )
    if options.json:
        from sweeps.cli.programs import gate_json, json_document

        json_document.write(gate_json.gate_try(found, decision))
    else:
        from sweeps.cli.gate import text

        print(text.verdict(found, decision))
    return {"keep": common.DONE, "discard": DISCARDED, "undecided": UNDECIDED}[decision.verdict]


def status(options: argparse.Namespace) -> int:
    found = api.gate_status(options.store, options.name)
    if options.json:
        return _json(found)
    from sweeps.cli.gate import text

    text.show(found)
    return common.DONE


def _json(found: Ledger) -> int:
    from sweeps.cli.programs import gate_json, json_document

    json_document.write(gate_json.gate(found))
    return common.DONE
