"""Seeds until decided against fixed numbers of seeds and against AdaStop: errors, power, trainings; simulated studies.

A study has a baseline and one arm for each claim "the arm is better". An outcome is the sum of a part of its seed,
which all arms share, and a part of its own; their variances make the correlation. Effects are in standard deviations
of an outcome. In `skewed` studies, the arms' own part is log-normal (sigma 1), so that the differences have a
skewness of 2. Without an effect, each verdict is an error; with one, "does not hold" is. Power is the share of claims
that hold.

The tables of docs/statistics.md come from `--studies 2000` (minutes) and `--adastop-studies 40` (much longer; the last
table has 100). An effect of 1 is decided at the first possible look where pairs are correlated, so the last table has
an effect of 0.5 and up to 64 seeds: there the trainings of the rules differ by what pairing saves.

    python -m tests.benchmarks.bench_sequential [--studies 100] [--adastop-studies 2] [--claims 1 3 10]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.intervals import simultaneous_level, t_quantile
from analysis.statistics.sequential.design import FUTILE_BELOW, Design, Range, conditional_power, decide
from analysis.statistics.sequential.spending import Spending, normal_boundaries, shares

LOOKS = tuple(range(4, 33, 4))
EFFECTS = {"none": 0.0, "small": 1.0, "large": 3.0}
WIDE_LOOKS = tuple(range(8, 65, 8))
WIDE_EFFECT = 0.5
"""Looks and effect of the last table."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Outcome:
    """What a rule says about one study."""

    verdicts: tuple[str, ...]
    trainings: int


def study(
    rng: np.random.Generator, claims: int, effect: float, shape: str, correlation: float, seeds: int = LOOKS[-1]
) -> Array:
    """Outcomes by arm and seed; the first row is the baseline."""
    shared, own = rng.normal(size=seeds), rng.normal(size=(claims + 1, seeds))
    if shape == "skewed":
        own[1:] = (np.exp(own[1:]) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)
    outcomes = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    outcomes[1:] += effect
    return outcomes


# --- the rules --------------------------------------------------------------------------------------------------------


def sequential(outcomes: Array, looks: tuple[int, ...] = LOOKS) -> Outcome:
    """Ours: pairs are added to the arms of open claims."""
    differences = outcomes[1:] - outcomes[0]
    design = Design(looks, len(differences))
    ends = [_until_decided(design, row) for row in differences]
    seeds = [pairs for _, pairs in ends]
    return Outcome(tuple(verdict for verdict, _ in ends), sum(seeds) + max(seeds))


def _until_decided(design: Design, differences: Array) -> tuple[str, int]:
    """The end of a claim: the first look that finds it futile, unless this look or one before decides it."""
    looks = design.looks
    powers = ((look, conditional_power(design, differences[: looks[look]], Range(0.0))) for look in range(len(looks)))
    last = next((look for look, power in powers if power is not None and power < FUTILE_BELOW), len(looks) - 1)
    decision = decide(design, differences, looks[: last + 1], Range(0.0))
    return decision.state, decision.pairs


def fixed(seeds: int) -> Callable[[Array], Outcome]:
    """Student's simultaneous intervals at a fixed number of seeds."""

    def judged(outcomes: Array) -> Outcome:
        differences = (outcomes[1:] - outcomes[0])[:, :seeds]
        error = differences.std(axis=1, ddof=1) / math.sqrt(seeds)
        half = t_quantile(seeds, simultaneous_level(len(differences))) * error
        means = differences.mean(axis=1)
        verdicts = np.select([means > half, means < -half], ["holds", "does not hold"], "open")
        return Outcome(tuple(verdicts.tolist()), seeds * len(outcomes))

    return judged


def adastop(outcomes: Array, looks: tuple[int, ...] = LOOKS) -> Outcome:
    """AdaStop with the same looks, every arm against the baseline."""
    from adastop import MultipleAgentsComparator

    arms, step = len(outcomes), looks[0]
    pairs = np.array([(0, arm) for arm in range(1, arms)])
    rule = MultipleAgentsComparator(n=step, K=len(looks), B=1000, comparisons=pairs, alpha=0.05, seed=0)
    seeds = [0] * arms
    for look in looks:
        running = range(arms) if look == step else set(np.ravel(rule.current_comparisons).tolist())
        for arm in running:
            seeds[arm] = look
        rule.partial_compare({str(arm): outcomes[arm, :look] for arm in range(arms)}, verbose=False)
        if rule.is_finished:
            break
    words = {"smaller": "holds", "larger": "does not hold"}  # of the baseline, against the arm
    return Outcome(tuple(words.get(rule.decisions[str(pair)], "open") for pair in pairs), sum(seeds))


def student(spending: Spending, differences: Array) -> bool:
    """Whether Student's t with the boundaries of normal data decides any row at any look."""
    from scipy.special import ndtr, stdtr

    bounds = normal_boundaries(spending, shares(LOOKS), Design(LOOKS, len(differences)).side)
    for look, bound in zip(LOOKS, bounds, strict=True):
        seen = differences[:, :look]
        with np.errstate(divide="ignore"):  # equal differences: t is infinite
            t = np.abs(seen.mean(axis=1)) / seen.std(axis=1, ddof=1) * math.sqrt(look)
        if (stdtr(look - 1, -t) <= ndtr(-bound)).any():
            return True
    return False


# --- the tables -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What a rule reaches in one cell."""

    errors: float
    """Share of studies with an error."""
    power: float
    """Share of claims that hold."""
    trainings: float
    """Mean number."""


def summary(rule: Callable[[Array], Outcome], studies: Iterable[Array], effect: float) -> Summary:
    outcomes = [rule(one) for one in studies]
    wrong = ("does not hold",) if effect else ("holds", "does not hold")
    errors = np.mean([any(verdict in wrong for verdict in one.verdicts) for one in outcomes])
    power = np.mean([verdict == "holds" for one in outcomes for verdict in one.verdicts])
    return Summary(float(errors), float(power), float(np.mean([one.trainings for one in outcomes])))


def compare(studies: int, adastop_studies: int, claims: Sequence[int]) -> None:
    """One row for each cell: errors where there is no effect, else power; and trainings."""
    ours = {"until decided": sequential, "n = 8": fixed(8), "n = 32": fixed(32)}
    rules = {name: (rule, studies) for name, rule in ours.items() if studies}
    rules |= {"AdaStop": (adastop, adastop_studies)} if adastop_studies else {}
    cells = list(itertools.product(("normal", "skewed"), (0.0, 0.7), claims, EFFECTS))
    found: dict[tuple[Any, ...], Summary] = {}
    for (name, (rule, count)), cell in itertools.product(rules.items(), cells):
        shape, correlation, number, effect = cell
        rng = np.random.default_rng(0)  # the same studies for every rule
        simulated = (study(rng, number, EFFECTS[effect], shape, correlation) for _ in range(count))
        found[name, cell] = summary(rule, simulated, EFFECTS[effect])
        print(name, *cell, found[name, cell], file=sys.stderr, flush=True)
    print("| data | correlation | claims | effect |", " | ".join(rules), "|")
    print("|", " | ".join(["---"] * (4 + len(rules))), "|")
    for cell in cells:
        texts = [_text(found[name, cell], cell[-1]) for name in rules]
        print("|", " | ".join([cell[0], f"{cell[1]:g}", str(cell[2]), cell[3], *texts]), "|")
    worst = max(one.errors for (_, cell), one in found.items() if EFFECTS[cell[-1]])
    print(f"\nWrong verdicts where there is an effect: in at most {worst:.1%} of the studies of any cell and rule.")


def what_pairing_saves(studies: int, adastop_studies: int) -> None:
    """Power and trainings for an effect that needs many seeds, one claim on normal outcomes, by correlation."""
    print("| correlation | rule | studies | power | trainings |\n| --- | --- | --- | --- | --- |")
    rules = [
        ("until decided, at most 64 seeds", functools.partial(sequential, looks=WIDE_LOOKS), studies),
        ("until decided, at most 32 seeds", sequential, studies),
        ("AdaStop, at most 64 seeds", functools.partial(adastop, looks=WIDE_LOOKS), adastop_studies),
    ]
    for correlation, (name, rule, count) in itertools.product((0.0, 0.7), rules):
        rng = np.random.default_rng(0)
        simulated = (study(rng, 1, WIDE_EFFECT, "normal", correlation, WIDE_LOOKS[-1]) for _ in range(count))
        if count:
            found = summary(rule, simulated, WIDE_EFFECT)
            print(f"| {correlation:g} | {name} | {count} | {found.power:.0%} | {found.trainings:.1f} |", flush=True)


def _text(summary: Summary, effect: str) -> str:
    share = f"{summary.power:.0%}" if EFFECTS[effect] else f"{summary.errors:.1%} err"
    return f"{share}, {summary.trainings:.1f}"


def symmetric_and_skewed(studies: int) -> None:
    """Errors without an effect, three claims on independent differences of many distributions."""
    drawn: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
        "normal": lambda rng, size: rng.normal(size=size),
        "uniform": lambda rng, size: rng.uniform(-1, 1, size),
        "two values": lambda rng, size: rng.choice([-1.0, 1.0], size),
        "Laplace": lambda rng, size: rng.laplace(size=size),
        "Student's t, 2 degrees of freedom": lambda rng, size: rng.standard_t(2, size),
        "Cauchy": lambda rng, size: rng.standard_cauchy(size),
        "log-normal, sigma 0.25": lambda rng, size: rng.lognormal(0, 0.25, size) - math.exp(0.25**2 / 2),
        "log-normal, sigma 0.5": lambda rng, size: rng.lognormal(0, 0.5, size) - math.exp(0.5**2 / 2),
        "log-normal, sigma 1": lambda rng, size: rng.lognormal(0, 1, size) - math.exp(0.5),
    }
    print("| differences | sign flips | Student's t, Pocock | Student's t, O'Brien-Fleming |")
    print("| --- | --- | --- | --- |", flush=True)
    design = Design(LOOKS, 3)
    for name, draw in drawn.items():
        rng = np.random.default_rng(0)
        counts = np.zeros(3)
        for _ in range(studies):
            differences = draw(rng, (3, LOOKS[-1]))
            flips = any(_until_decided(design, row)[0] in ("holds", "does not hold") for row in differences)
            counts += flips, student("pocock", differences), student("obrien-fleming", differences)
        print("|", " | ".join([name, *(f"{share:.1%}" for share in counts / studies)]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100, help="0: AdaStop alone")
    parser.add_argument("--adastop-studies", type=int, default=2, help="0: without AdaStop, which is not needed")
    parser.add_argument("--claims", type=int, nargs="+", default=[1, 3, 10], help="numbers of claims of a study")
    options = parser.parse_args()
    if options.studies:
        symmetric_and_skewed(options.studies)
        print(flush=True)
    compare(options.studies, options.adastop_studies, options.claims)
    print(flush=True)
    what_pairing_saves(options.studies, options.adastop_studies)


if __name__ == "__main__":
    main()
