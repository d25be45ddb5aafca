"""The part of a sweep that `--arms` and `--skip-arms` choose to run. The stored plan stays whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from sweeps.errors import SweepError
from sweeps.run_options import RunOptions
from sweeps.spec.loader import unknown_name_error
from sweeps.spec.plan import Arm, Plan


def part(plan: Plan, options: RunOptions) -> Plan:
    """The plan with the chosen arms only; the plan itself if no arm is named.

    Raises UnknownNameError for an arm that the sweep does not have, and SweepError if no arm is left.
    """
    if not options.arms and not options.skip_arms:
        return plan
    chosen = _chosen(plan, options)
    return replace(plan, arms=tuple(arm for arm in plan.arms if arm.name in chosen))


def searches(plan: Plan, options: RunOptions, arm: Arm) -> bool:
    """Whether the search of an arm runs: if one of the arms that take their values from it is chosen."""
    return bool(_tuned(plan, arm) & _chosen(plan, options))


def _chosen(plan: Plan, options: RunOptions) -> set[str]:
    """The names of the chosen arms, with those that searches will add."""
    known = dict.fromkeys([arm.name for arm in plan.arms])
    for arm in plan.searched:
        known |= dict.fromkeys(sorted(_tuned(plan, arm)))
    only = _names(options.arms, known, "--arms") if options.arms else set(known)
    chosen = only - _names(options.skip_arms, known, "--skip-arms")
    if not chosen:
        raise SweepError(
            f"--skip-arms {', '.join(options.skip_arms)!r}",
            "no arm of the sweep is left",
            f"some of {', '.join(known)}",
            "skip fewer arms",
        )
    return chosen


def _tuned(plan: Plan, arm: Arm) -> set[str]:
    """The names of the arms whose values come from the search of an arm; the arm itself if none do."""
    search = plan.sweep.spec.search
    assert search is not None
    ranks = range(1, search.report_best + 1)
    if search.within_arms:
        return {arm.name, *(f"{arm.name} #{rank}" for rank in ranks if rank > 1)}
    return {f"tuned #{rank}" for rank in ranks} or {arm.name}


def _names(texts: Iterable[str], known: Collection[str], option: str) -> set[str]:
    """The names in comma-separated lists. A name may contain commas: the longest known one is taken."""
    names: set[str] = set()
    for text in texts:
        parts = text.split(",")
        while parts:
            length = next((n for n in range(len(parts), 0, -1) if ",".join(parts[:n]).strip() in known), 0)
            if not length:
                name = parts[0].strip()
                raise unknown_name_error(f"{option} {text!r}: arm {name!r}", name, known)
            names.add(",".join(parts[:length]).strip())
            parts = parts[length:]
    return names
