"""How many seeds the arms of a plan with looks will probably get, before there are results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.claims.looks import comparisons
from analysis.claims.sides import Claim, claimed_arms
from analysis.statistics.sequential.design import Design
from analysis.statistics.sequential.spending import normal_boundaries, shares
from sweeps.spec.sections.seeds import Budget, HalfWidth, SeedsUntil

EFFECT = 1.0
"""The assumed difference, in standard deviations of the paired differences."""
_STUDIES = 4000
"""Simulated comparisons."""
_LISTED = 8
"""Looks that a sentence lists; of more, the middle is left out."""


def expect(
    rule: SeedsUntil, claims: Sequence[Claim], trained: Sequence[str], baselines: Mapping[str, str]
) -> tuple[dict[str, int], str]:
    """The expected number of seeds by arm, and a sentence on the looks.

    Claims are taken to be about differences of `EFFECT` standard deviations; an arm of several claims gets seeds until
    the last of them is decided. The width of an interval cannot be foreseen without a spread: then the number
    is halfway between the least and the most. trained: names of the trained arms. baselines: of every arm.
    """
    family = sum(map(comparisons, claims))
    numbers_of_seeds = [str(look) for look in rule.looks]
    if len(numbers_of_seeds) > _LISTED:
        numbers_of_seeds[3:-1] = ["..."]
    looks = f"looks after {', '.join(numbers_of_seeds)} seeds"
    least = dict.fromkeys(baselines, rule.first)
    if isinstance(rule.until, HalfWidth):
        compared = [name for name in trained if name != baselines[name]]
        first = Design(rule.looks, len(compared)).first_decision
        needed = {*compared, *(baselines[name] for name in compared)}
        halfway = (rule.first + rule.most + 1) // 2
        begins = f"an interval exists after {first} seeds at the earliest" if first else "none gives one: raise `most`"
        words = f"{begins}; expected is halfway between the least and the most, because the spread is not known"
        return {**least, **dict.fromkeys(needed, halfway)}, f"seeds until half-widths are reached, {looks}: {words}"
    until, end = "until decided", ""
    if isinstance(rule.until, Budget):
        until = "while they fit into the budget"
        end = f"; looks end earlier where the next one does not fit into {rule.until.budget}"
    if not family:
        return {**least, **dict.fromkeys(trained, rule.most)}, f"seeds of every arm {until}, {looks}{end}"
    design = Design(rule.looks, family)
    first = design.first_decision
    decides = f"decided after {first} seeds at the earliest" if first else "not decided: raise `most`"
    meant = f"expected is for differences of {EFFECT:g} standard deviation of the pairs"
    takes_part = Counter(name for claim in claims if comparisons(claim) for name in _compared(claim, baselines))
    expected = {count: expected_number(design, count) for count in set(takes_part.values())}
    numbers = {name: expected[count] for name, count in takes_part.items() if name in baselines}
    return {**least, **numbers}, f"seeds {until}, {looks}: claims are {decides}; {meant}{end}"


def expected_number(design: Design, claims_of_arm: int = 1) -> int:
    """Mean number of seeds, rounded up, until the last of an arm's claims is decided.

    Of simulated normal differences at the boundaries for normal data; claims count as independent, and futility is left
    out.
    """
    if design.first_decision is None:
        return design.looks[-1]
    bounds = normal_boundaries(design.spending, shares(design.looks), design.side)
    sums = np.cumsum(np.random.default_rng(0).normal(EFFECT, 1.0, (_STUDIES, design.looks[-1])), axis=1)
    running = np.ones(_STUDIES, dtype=bool)
    number = float(design.looks[0])
    for look, bound, following in zip(design.looks, bounds, design.looks[1:], strict=False):
        if look >= design.first_decision:
            running &= np.abs(sums[:, look - 1]) / math.sqrt(look) < bound
        decided = 1 - float(running.mean())
        number += (following - look) * (1 - decided**claims_of_arm)
    return math.ceil(number)


def _compared(claim: Claim, baselines: Mapping[str, str]) -> list[str]:
    """The arms that get seeds for a claim: those that it names, and their baselines."""
    names = claimed_arms(claim)
    return list(dict.fromkeys([*names, *(baselines[name] for name in names if name in baselines)]))
