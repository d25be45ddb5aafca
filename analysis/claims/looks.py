"""Claims of a study whose seeds are added at looks: their comparisons, verdicts and intervals.

Each comparison of a claim is a sequence of paired differences in the order of the seeds, which
`analysis.statistics.sequential` judges at the planned numbers of seeds. Nothing is stored about a look, since the
results in the store determine it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from analysis import wording
from analysis.claims.sides import Claim, claimed_arms, of_one_arm
from analysis.statistics.intervals import Interval, mean_interval
from analysis.statistics.sequential.design import Decision, Design, Range, decide, repeated_interval
from analysis.statistics.sequential.pairs import correlation, looks_skewed
from analysis.study import Study
from sweeps.spec.sections.seeds import Budget, HalfWidth, SeedsUntil

_Side = dict[int, float]
"""Values by seed."""
ENDED = ("done", "failed")
"""States of trials that a look does not wait for."""


@dataclass(frozen=True)
class Series:
    """One comparison of a claim at the looks that are over."""

    design: Design
    differences: tuple[float, ...]
    """In the order of the seeds."""
    counts: tuple[int, ...]
    """Number of differences at each look that is over."""
    within: Range
    """The mean differences for which the claim is true."""
    correlation: float | None
    rule: SeedsUntil

    @cached_property
    def decision(self) -> Decision:
        return decide(self.design, self.differences, self.counts, self.within)

    @property
    def goes_on(self) -> bool:
        """Whether the comparison gets more seeds. Without any pair, its trials fail, and more of them would too."""
        return bool(self.counts) and self.counts[-1] > 0 and self.decision.goes_on

    def interval(self) -> Interval | None:
        """The repeated interval at the look that decided the comparison, else at the newest one."""
        counts = self.counts[: self.decision.look + 1]
        pairs = self.differences[: counts[-1]] if counts else ()
        plain = mean_interval(pairs)
        if plain is None:
            return None
        limits = [limit for limit in (self.within.low, self.within.high) if math.isfinite(limit)]
        low, high = repeated_interval(self.design, pairs, counts, limits) or (None, None)
        return Interval(plain.mean, plain.sd, low, high, plain.n)

    def sentence(self) -> str:
        """How the number of seeds came about, and what the pairs look like."""
        if not self.counts:
            return f"The first look comes after {self.design.looks[0]} seeds of every arm."
        if not self.counts[-1]:
            return "It gets no more seeds, since no pair of its trials has a result."
        decision, most = self.decision, self.design.looks[-1]
        ends = {
            "futile": f"It gets no more seeds: the chance that {most} seeds decide it is below 10 %.",
            "at most": f"The planned number of {most} seeds did not decide it.",
            "open": "The next look may decide it.",
        }
        if isinstance(self.rule.until, HalfWidth):
            ends["futile"] = ends["open"] = "The number of seeds does not depend on this claim."
        elif isinstance(self.rule.until, Budget):
            ends["open"] = "The next look may decide it, if the budget allows one."
        look = f"look {decision.look + 1} of {len(self.design.looks)}"
        words = [ends.get(decision.state, f"Decided at {look}, with {decision.pairs} of at most {most} pairs.")]
        if self.correlation is not None:
            words.append(f"The correlation of the pairs is {self.correlation:.2f}.")
        if looks_skewed(self.differences):
            words.append("The differences look skewed, so the chance of an error may exceed 5 %.")
        return " ".join(words)


def planned(study: Study) -> SeedsUntil | None:
    """How the study's seeds are added; None if their number is fixed."""
    looks = study.plan.get("looks")
    return None if looks is None else SeedsUntil.model_validate(looks)


def comparisons(claim: Claim) -> int:
    """Number of intervals on which a claim is judged."""
    return 0 if "fails" in claim else len(claim["order"]) - 1 if "order" in claim else 1


def series(study: Study, claim: Claim, family: int) -> Iterator[Series]:
    """Each comparison of a claim; none for a claim that no difference decides.

    family: number of comparisons that all claims of the study make.
    """
    looks = planned(study)
    names = claimed_arms(claim)
    if looks is None or "fails" in claim or any(name not in study.names for name in names):
        return
    if all(study.arm(name).exact for name in names):  # one evaluation decides
        return
    trained = [name for name in names if not study.arm(name).exact]
    for ours, theirs, within in _sides(study, claim):
        different = not {"arm", "improves", "settles"} & claim.keys()
        yield Series(
            Design(looks.looks, family),
            tuple(ours[seed] - theirs[seed] for seed in _shared(ours, theirs)),
            counts(study, looks, trained, _shared(ours, theirs)),
            within,
            correlation(ours, theirs) if different else None,
            looks,
        )


def _sides(study: Study, claim: Claim) -> Iterator[tuple[_Side, _Side, Range]]:
    """The values by seed of each comparison, and the mean differences for which it agrees with the claim."""
    metric, epoch = claim["metric"], claim.get("epoch")
    better = wording.sign(metric)
    if "equal" in claim:
        limit = float(claim["within"])
        a, b = (study.values(name, metric, epoch) for name in claim["equal"])
        yield a, b, Range(-limit, limit)
    elif "like" in claim:
        yield *of_one_arm(study, claim), Range(-float(claim["share"]), float(claim["share"]))
    elif "above" in claim:
        yield *of_one_arm(study, claim), Range(0.0)
    elif better == 0:
        return
    elif "settles" in claim:
        limit = float(claim["within"])
        end, then = (study.values(claim["settles"], metric, at) for at in (epoch, claim["after"]))
        yield end, then, Range(high=limit) if better > 0 else Range(-limit)
    else:
        by = -float(claim["within"]) if "not_worse" in claim else float(claim.get("by") or 0.0)
        gains = Range(by) if better > 0 else Range(high=-by)
        if "improves" in claim:
            end, then = (study.values(claim["improves"], metric, at) for at in (epoch, claim["after"]))
            yield end, then, gains
            return
        names = claim.get("order") or [claim.get("better") or claim.get("not_worse"), claim["than"]]
        for a, b in itertools.pairwise(names):
            yield study.values(a, metric, epoch), study.values(b, metric, epoch), gains


def _shared(ours: _Side, theirs: _Side) -> list[int]:
    return sorted(seed for seed in ours if seed in theirs)


def counts(study: Study, looks: SeedsUntil, trained: list[str], shared: list[int]) -> tuple[int, ...]:
    """Number of pairs at each look that is over for these arms. shared: the seeds of the pairs."""
    cells = [cell for cell in study.cells if cell.arm in trained]
    seeds = min((len(study.arm(name).trials) for name in trained), default=looks.most)
    open_seeds = [cell.seed for cell in cells if cell.state not in ENDED]
    over = min([seeds, *open_seeds])
    return tuple(sum(seed < look for seed in shared) for look in looks.looks if look <= over)


def family(study: Study) -> int:
    """Number of comparisons that all claims of a study make."""
    return sum(map(comparisons, study.plan.get("claims") or []))
