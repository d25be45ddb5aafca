"""What all shipped studies would cost, at one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps import sizes
from sweeps.api import arguments
from sweeps.api.running import estimate, plan, work_left
from sweeps.errors import SweepError
from sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from sweeps.api.arguments import StoreLike


@dataclass(frozen=True)
class StudyCost:
    """One shipped study at one size."""

    name: str
    """The name of the study, or of its smaller form."""
    trials: int = 0
    """Planned trials and suggestions of searches, finished ones included."""
    left: int = 0
    """Trials and suggestions that the store lacks."""
    epochs: int = 0
    """Epochs that are left."""
    most: bool = False
    """Whether early stopping may save some of them."""
    seconds: float = 0.0
    """Known computing time of what is left."""
    unknown: int = 0
    """Kinds of trials without known times, of `kinds`."""
    kinds: int = 0
    problem: str = ""
    """Why it cannot be planned at this size; then there is nothing else."""


def study_costs(
    store: StoreLike, size: str = sizes.FULL, options: RunOptions | None = None, *, measure: bool = False
) -> list[StudyCost]:
    """The cost of what a store lacks of each shipped study. A sweep that others depend on counts once, as itself.

    measure: time a few steps of trials without recorded times.
    """
    from sweeps.spec import studies

    store = arguments.plain_store(store)
    return [_cost(study.stem, study.name, store, size, options, measure) for study in studies.studies()]


def _cost(stem: str, name: str, store: StoreLike, size: str, options: RunOptions | None, measure: bool) -> StudyCost:
    try:
        sweep = arguments.load(stem, size=size)
        work = work_left(plan(sweep, store), store)
        cost = estimate(work, store, options, measure=measure)
    except SweepError as error:
        return StudyCost(sizes.sized_name(name, size), problem=error.why)
    return StudyCost(
        name=sweep.name,
        trials=work.done + len(work.failed) + sum(line.trials for line in cost.lines),
        left=sum(line.trials for line in cost.lines),
        epochs=cost.epochs,
        most=cost.most,
        seconds=cost.computing_s,
        unknown=len(cost.unknown),
        kinds=len(cost.lines),
    )
