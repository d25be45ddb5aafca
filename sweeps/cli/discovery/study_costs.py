"""The table of `sweeps plan --all`: what all shipped studies would cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sweeps.api.all_studies import StudyCost
from sweeps.cli import console


def show(costs: Sequence[StudyCost]) -> None:
    """A row for each study that can be planned, the total, and why the other studies cannot."""
    planned = [cost for cost in costs if not cost.problem]
    table = console.make_table("study", "trials", "to run", "epochs", "computing", "times known for")
    table.columns[0].overflow = "fold"  # in a narrow terminal, names go on in a second line
    for column in table.columns[1:]:
        column.no_wrap = True
    for cost in planned:
        table.add_row(Text(cost.name), *_cells([cost]))
    table.add_section()
    table.add_row(Text(f"{len(planned)} of {len(costs)} studies", style="bold"), *_cells(planned))
    console.show(table)
    for problem in dict.fromkeys(cost.problem for cost in costs if cost.problem):
        names = ", ".join(cost.name for cost in costs if cost.problem == problem)
        console.console().print(Text(f"{names} not planned: {problem}", style="yellow"))
    if any(cost.unknown for cost in planned):
        console.console().print(Text("--measure times the trials whose times are not known"))


def _cells(costs: Sequence[StudyCost]) -> list[str]:
    unknown, kinds = sum(cost.unknown for cost in costs), sum(cost.kinds for cost in costs)
    known_s = sum(cost.seconds for cost in costs)
    up_to = "up to " if any(cost.most for cost in costs) else ""
    at_least = "at least " if unknown else ""
    return [
        f"{sum(cost.trials for cost in costs):,}",
        f"{sum(cost.left for cost in costs):,}",
        f"{up_to}{sum(cost.epochs for cost in costs):,}",
        "-" if not kinds else "?" if unknown and not known_s else at_least + console.time_text(known_s),
        f"{kinds - unknown} of {kinds} kinds" if kinds else "nothing to run",
    ]
