"""The gate against simpler rules: sessions that keep something useless, power, and runs; simulated sessions.

A run has the standard deviation 1; its correlation with the other run of the pair is `CORRELATION`. Effects are in
standard deviations of a paired difference. In a session of candidates that do nothing, each keep is an error. For
power, one candidate of each session, at a random place, is better by the effect; its runs are counted apart.

The tables of docs/statistics.md come from `--sessions 1000`, which takes less than a minute.

    python -m tests.benchmarks.streams.bench_gate [--sessions 1000] [--candidates 125]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.sequential import candidates as rule

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, Any], Any]
CORRELATION = 0.5
DIFFERENCE = math.sqrt(2 * (1 - CORRELATION))
"""Standard deviation of a paired difference."""
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "uniform": lambda rng, size: rng.uniform(-math.sqrt(3), math.sqrt(3), size),
    "Student's t, 3 degrees of freedom": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
}
"""A run's own noise, of standard deviation 1. What a seed does to both runs cancels in their difference."""


@dataclass
class Outcome:
    """What a rule did: arrays of sessions x candidates."""

    kept: Array
    candidate_runs: Array
    incumbent_runs: Array

    @property
    def runs(self) -> Array:
        return self.candidate_runs + self.incumbent_runs


def gate(rng: np.random.Generator, effects: Array, draw: Draw) -> Outcome:
    """Ours. effects: sessions x candidates, in standard deviations of a difference."""
    sessions, number = effects.shape
    shape = (sessions, number)
    kept, runs, own = np.zeros(shape, bool), np.zeros(shape, int), np.zeros(shape, int)
    spreads, left = np.full(shape, np.nan), np.full(sessions, rule.SESSION_ALPHA)
    pool = draw(rng, (sessions, rule.SCREENING))
    ran = np.zeros(sessions, int)  # how many runs of the pool there are
    for index in range(number):
        known = np.full(sessions, np.nan)
        some = ~np.isnan(spreads[:, :index]).all(axis=1)
        known[some] = np.nanmedian(spreads[some, :index], axis=1)
        level = rule.level(left, number - index)
        log_e = np.zeros(sessions)
        rows, evidence = np.arange(sessions), rule.Evidence(known)
        for pair in range(rule.MAX_PAIRS):
            bet = np.broadcast_to(evidence.screened, rows.shape)
            shared = pool[rows, min(pair, rule.SCREENING - 1)]
            base = np.where(bet, draw(rng, len(rows)), shared)
            evidence.add((draw(rng, len(rows)) - base) / math.sqrt(2) + effects[rows, index])
            runs[rows, index] += 1
            own[rows, index] += bet | (pair >= ran[rows])
            ran[rows] = np.where(bet, ran[rows], np.maximum(ran[rows], pair + 1))
            log_e[rows] = evidence.log_e
            keeps = evidence.reaches(level[rows])
            ends = keeps | evidence.futile | (pair == rule.MAX_PAIRS - 1)
            kept[rows[keeps], index] = True
            if pair:
                spreads[rows[ends], index] = rule.median_unbiased(evidence.pairs, evidence.squares[ends])
            rows = rows[~ends]
            if not len(rows):
                break
            evidence = _rows(evidence, ~ends)
        left = left - rule.spent(level, log_e, kept[:, index])
        new = kept[:, index]
        pool[new] = draw(rng, (int(new.sum()), rule.SCREENING))  # fresh seeds for a new incumbent
        ran[new] = 0
    return Outcome(kept, runs, own)


def _rows(evidence: rule.Evidence, chosen: Array) -> rule.Evidence:
    """The evidence on the candidates that go on."""
    names = ("typical", "mean", "squares", "log_e", "screened")
    fields: dict[str, Any] = {name: np.broadcast_to(getattr(evidence, name), chosen.shape)[chosen] for name in names}
    return dataclasses.replace(evidence, **fields)


def larger(margin: float) -> Callable[[np.random.Generator, Array, Draw], Outcome]:
    """Keep a candidate whose one run is better than the incumbent's one by more than a margin, in sds of a run."""

    def judged(rng: np.random.Generator, effects: Array, draw: Draw) -> Outcome:
        values = draw(rng, effects.shape) + effects * DIFFERENCE
        best, gained = draw(rng, len(effects)), np.zeros(len(effects))
        kept = np.zeros(effects.shape, bool)
        for index in range(effects.shape[1]):
            now = values[:, index] + gained
            kept[:, index] = now > best + margin
            best = np.where(kept[:, index], now, best)
            gained += np.where(kept[:, index], effects[:, index] * DIFFERENCE, 0)
        ones = np.ones(effects.shape, int)
        return Outcome(kept, ones, 0 * ones)

    return judged


def five(rng: np.random.Generator, effects: Array, draw: Draw) -> Outcome:
    """Five paired seeds, the same for all candidates of an incumbent; kept if Student's one-sided p is below 5 %."""
    from scipy.special import stdtr

    sessions, number = effects.shape
    base, kept, own = draw(rng, (sessions, 5)), np.zeros(effects.shape, bool), np.zeros(effects.shape, int)
    own[:, 0] = 5
    for index in range(number):
        difference = (draw(rng, (sessions, 5)) - base) / math.sqrt(2) + effects[:, [index]]
        t = difference.mean(axis=1) / difference.std(axis=1, ddof=1) * math.sqrt(5)
        kept[:, index] = stdtr(4, -t) <= 0.05
        base[kept[:, index]] = draw(rng, (int(kept[:, index].sum()), 5))  # favourable to the rule: no lucky incumbent
        own[kept[:, index], min(index + 1, number - 1)] += 5
    return Outcome(kept, np.full(effects.shape, 5), own)


RULES = {
    "keep if larger": larger(0.0),
    "two standard deviations of a run": larger(2.0),
    "five seeds, Student's t": five,
    "gate": gate,
}


@dataclass(frozen=True)
class Summary:
    error: float
    """Share of sessions without any effect that keep something."""
    useless_kept: float
    """Mean number that such a session keeps."""
    power: float
    """Share of the better candidates that are kept."""
    candidate_runs: float
    """Mean runs of a useless candidate, its own."""
    runs: float
    """The same, with the incumbent's runs."""
    kept_runs: float
    """Mean runs for a better candidate."""


def summary(name: str, sessions: int, number: int, effect: float, draw: Draw, seed: int = 0) -> Summary:
    rng = np.random.default_rng(seed)
    nothing = RULES[name](rng, np.zeros((sessions, number)), draw)
    effects = np.zeros((sessions, number))
    place = np.arange(sessions), rng.integers(number, size=sessions)
    effects[place] = effect
    something = RULES[name](rng, effects, draw)
    return Summary(
        float(nothing.kept.any(axis=1).mean()),
        float(nothing.kept.sum(axis=1).mean()),
        float(something.kept[place].mean()),
        float(nothing.candidate_runs.mean()),
        float(nothing.runs.mean()),
        float(something.runs[place].mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=125)
    options = parser.parse_args()
    print("| runs | rule | sessions that keep something useless | useless kept | power at one sd | two sd |", end="")
    print(" runs of a useless candidate | with the incumbent's | all runs for a better one |")
    print("|", " | ".join(["---"] * 9), "|")
    for shape, draw in SHAPES.items():
        for name in RULES if shape == "normal" else ("gate",):
            one, two = (summary(name, options.sessions, options.candidates, effect, draw) for effect in (1.0, 2.0))
            numbers = [f"{one.error:.1%}", f"{one.useless_kept:.2f}", f"{one.power:.0%}", f"{two.power:.0%}"]
            numbers += [f"{one.candidate_runs:.2f}", f"{one.runs:.2f}", f"{one.kept_runs:.1f}"]
            print("|", " | ".join([shape, name, *numbers]), "|", flush=True)


if __name__ == "__main__":
    main()
