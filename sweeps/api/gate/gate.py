"""A gate: candidate changes, one after the other, each tried against the incumbent on seeds that it did not choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from sweeps.api.arguments import StoreLike
    from sweeps.api.gate.ledger import GateDecision, Ledger

DEFAULT = "gate"
"""Name of a gate that is given none."""


def gate_init(
    store: StoreLike,
    command: str,
    metric: str,
    *,
    goal: Literal["max", "min"],
    budget: int = 50,
    name: str = DEFAULT,
    label: str = "initial",
    folder: str | Path = ".",
    code: Sequence[str] = (),
    epochs: int = 1,
    timeout: float | None = 3600.0,
    resources: Mapping[str, Any] | None = None,
) -> Ledger:
    """Start a gate in a store. Its first incumbent is the program as its files are now; nothing runs yet.

    command: program and arguments in one line, as `python train.py --seed {seed}`; placeholders as in task `command`.
    metric: the column that it reports. goal: `max` or `min`. budget: candidates that can be tried. folder: of the
    program's files, in copies of which it runs. code: patterns of these files; none: what git does not ignore.
    epochs: records of a run, of which the last counts. timeout: longest time without a record, s. resources: of a run,
    as in a sweep file: `{"cpus": 4, "gpus": 1}`.

    Raises SweepError for a name that the store has, and for what no run could use.
    """
    from sweeps.api import arguments
    from sweeps.api.gate import tries
    from sweeps.api.gate.ledger import GateSettings, check_name

    opened = arguments.plain_store(store)
    program = tries.program(opened, label, tries.split(command), Path(folder), code)
    resources = dict(resources or {})
    settings = GateSettings(check_name(name), metric, goal, budget, epochs, timeout, list(code), program, resources)
    return tries.start(opened, settings)


def gate_try(
    store: StoreLike,
    label: str,
    *,
    name: str = DEFAULT,
    command: str | None = None,
    folder: str | Path = ".",
    abandon: bool = False,
    options: RunOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Ledger, GateDecision]:
    """Try the program as its files are now against the incumbent, and make it the incumbent if it is kept.

    label: names the candidate. command: of the candidate, if it is another one than the incumbent's. abandon: first
    discard a candidate that is not decided. options: where it runs; without `address`, in this process. progress: gets
    a sentence for each pair.

    A call that was killed continues with the same label and files; one that had ended returns its verdict again.
    Raises SweepError if another process tries a candidate, if the budget is used up, and if the incumbent fails.
    """
    from sweeps.api import arguments
    from sweeps.api.gate import holder, ledger, tries

    opened = arguments.plain_store(store)
    ledger.read(opened, name)  # an error for a name that the store lacks, before anything is written
    with holder.only_one(opened, name):
        if abandon:
            tries.abandon(opened, name)
        found = ledger.read(opened, name)
        run = found.program(found.incumbent).run if command is None else tries.split(command)
        program = tries.program(opened, label, run, Path(folder), found.settings.files)
        number = tries.decide(opened, name, program, options or RunOptions(), progress or (lambda _: None))
    found = ledger.read(opened, name)
    return found, found.decisions[number]


def gate_status(store: StoreLike, name: str = DEFAULT) -> Ledger:
    """The candidates of a gate, their verdicts, its incumbent and the error that is left."""
    from sweeps.api import arguments
    from sweeps.api.gate import ledger

    return ledger.read(arguments.plain_store(store), name)
