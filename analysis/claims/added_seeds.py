"""Which arms the next look adds seeds to, under each form of `seeds: {until: ...}`, and how the numbers came about.

Nothing is stored about a look: decisions follow from the plan with the seeds so far and their results, so a run that
was interrupted and a second driver find the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean

from analysis import studies, wording
from analysis.claims import looks, not_tested
from analysis.claims.sides import claimed_arms
from analysis.statistics.sequential.design import Design, repeated_interval
from analysis.study import Study
from analysis.trial_times import trial_seconds
from sweeps.spec.sections.seeds import Budget, HalfWidth, SeedsUntil
from sweeps.store.base import Store
from sweeps.store.layout import Json


def open_arms(store: Store, plan: Json) -> set[str]:
    """The arms that the next look adds seeds to, with the baselines that they are compared with.

    plan: as it would be stored, with the seeds so far.
    """
    return arms_to_add(studies.of_plan(store, plan["name"], plan))


def arms_to_add(study: Study) -> set[str]:
    """As `open_arms`, of a study whose trials have ended."""
    rule = looks.planned(study)
    assert rule is not None
    if isinstance(rule.until, HalfWidth):
        return _with_baselines(study, {one.arm for one in precisions(study) if one.goes_on})
    names = _with_baselines(study, _wanted(study, rule))
    if names and isinstance(rule.until, Budget):
        spent = _spent(study, rule, names)
        return names if spent.used_s + spent.next_s <= rule.until.seconds else set()
    return names


def with_outcome(study: Study) -> Study:
    """The study, with notes on what its looks have found where intervals or costs end them."""
    return replace(study, notes=(*study.notes, *_outcome(study)))


def status_notes(store: Store, plan: Json) -> list[str]:
    """How the numbers of seeds of a stored plan came about; empty for a number that was fixed."""
    if not plan.get("looks"):
        return []
    return [studies.seeds_note(plan), *_outcome(studies.of_plan(store, plan["name"], plan))]


def _outcome(study: Study) -> list[str]:
    rule = looks.planned(study)
    if rule is None or rule.until == "decided":
        return []
    return list(_precision_words(study)) if isinstance(rule.until, HalfWidth) else [_budget_words(study, rule)]


def _with_baselines(study: Study, names: set[str]) -> set[str]:
    return names | {study.arm(name).baseline for name in names}


def _wanted(study: Study, rule: SeedsUntil) -> set[str]:
    """The arms of claims that are not decided; for a budget without such claims, every arm with results."""
    claims = [claim for claim in study.plan["claims"] if looks.comparisons(claim)]
    if not claims and isinstance(rule.until, Budget):
        metric = study.metrics[0]
        return {arm.name for arm in study.arms if arm.trains and study.values(arm.name, metric)}
    every = looks.family(study)
    names: set[str] = set()
    for claim in claims:
        if not_tested.why(study, claim, claimed_arms(claim)):  # more seeds would not change that
            continue
        parts = list(looks.series(study, claim, every))
        refuted = any(part.decision.state == "does not hold" for part in parts)
        if not refuted and any(part.goes_on for part in parts):
            names.update(claimed_arms(claim))
    return names


# --- until differences are precise ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmPrecision:
    """How precisely the difference of an arm to its baseline is known."""

    arm: str
    baseline: str
    half_width: float | None
    """Of the repeated interval at the look that was precise enough, else at the newest; None without an interval."""
    pairs: int
    """Number of pairs at this look."""
    reached: bool
    """Whether the half-width is small enough."""
    goes_on: bool
    """Whether the arm gets more seeds."""


def precisions(study: Study) -> list[ArmPrecision]:
    """The precision of each trained arm's difference to its baseline.

    The intervals hold at every look and simultaneously for all of these arms, so that they hold however their width
    ends the looks.
    """
    rule = looks.planned(study)
    assert rule is not None
    compared = [arm.name for arm in study.arms if arm.trains and arm.name != arm.baseline]
    design = Design(rule.looks, len(compared))
    return [_precision(study, name, rule, design) for name in compared]


def _precision(study: Study, name: str, rule: SeedsUntil, design: Design) -> ArmPrecision:
    assert isinstance(rule.until, HalfWidth)
    baseline = study.arm(name).baseline
    ours, theirs = (study.values(arm, rule.until.metric) for arm in (name, baseline))
    shared = sorted(seed for seed in ours if seed in theirs)
    differences = [ours[seed] - theirs[seed] for seed in shared]
    trained = [arm for arm in (name, baseline) if study.arm(arm).trains]
    counts = looks.counts(study, rule, trained, shared)
    half, pairs = None, 0
    for look, pairs in enumerate(counts):
        half = _half_width(design, differences, counts[: look + 1])
        if half is not None and half <= rule.until.half_width:
            return ArmPrecision(name, baseline, half, pairs, reached=True, goes_on=False)
    more = pairs > 0 and len(counts) < len(design.looks)  # without any pair, its trials fail
    return ArmPrecision(name, baseline, half, pairs, reached=False, goes_on=more)


def _half_width(design: Design, differences: list[float], counts: tuple[int, ...]) -> float | None:
    bounds = repeated_interval(design, differences, counts) if counts[-1] else None
    return None if bounds is None else (bounds[1] - bounds[0]) / 2


def _precision_words(study: Study) -> Iterator[str]:
    rule = looks.planned(study)
    assert rule is not None
    assert isinstance(rule.until, HalfWidth)
    metric, found = rule.until.metric, precisions(study)
    if not found:
        return
    ends = {True: "precise enough", False: "not precise enough"}
    parts = []
    for one in found:
        half = "no interval" if one.half_width is None else wording.with_unit(f"{one.half_width:.3g}", metric)
        pairs = wording.count(one.pairs, "pair")
        parts.append(f"{half} for {wording.quoted(one.arm)} with {pairs}, {ends[one.reached]}")
    several = f", simultaneously for {len(found)} arms" if len(found) > 1 else ""
    yield (
        f"Half-widths of the differences to the baseline in {wording.label(metric)}, of 95 % intervals that hold at "
        f"every look{several}: {'; '.join(parts)}."
    )


# --- until a budget is used up ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spent:
    used_s: float
    """Training time of the trials so far."""
    next_s: float
    """Expected training time of those that the next look adds."""


def _spent(study: Study, rule: SeedsUntil, names: set[str]) -> _Spent:
    """What the study has cost, and what the seeds that the next look adds to these arms will.

    A new trial takes the mean time of its arm's finished trials, or of all where the arm has none. Arms with the same
    configuration share their trials.
    """
    times: dict[str, float] = {}
    for (trial, _), seconds in trial_seconds(study).items():
        times[trial] = max(seconds, times.get(trial, 0.0))
    trained = [arm for arm in study.arms if arm.trains and arm.trials]
    newest = max((len(arm.trials) for arm in trained), default=0)
    following = next((look for look in rule.looks if look > newest), newest)
    used = sum({trial: times.get(trial, 0.0) for arm in trained for trial, _ in arm.trials.values()}.values())
    added: dict[str, float] = {}
    for arm in trained:
        if arm.name in names:
            ids = [trial for trial, _ in arm.trials.values()]
            mean = fmean([times[one] for one in ids if one in times] or times.values() or [0.0])
            added[ids[0]] = max(added.get(ids[0], 0.0), mean * (following - len(ids)))
    return _Spent(used, sum(added.values()))


def _budget_words(study: Study, rule: SeedsUntil) -> str:
    assert isinstance(rule.until, Budget)
    names = _with_baselines(study, _wanted(study, rule))
    spent = _spent(study, rule, names)
    words = f"Training has taken {wording.duration(spent.used_s)} of the budget of {rule.until.budget}"
    if any(cell.state not in looks.ENDED for cell in study.cells):
        return f"{words}; trials of this look have not ended."
    if max((len(arm.trials) for arm in study.arms if arm.trains), default=0) >= rule.most:
        return f"{words}; the planned number of {rule.most} seeds is reached."
    if not names:
        return f"{words}; no arm needs more seeds."
    cost = f"the next look would take about {wording.duration(spent.next_s)}"
    ends = spent.used_s + spent.next_s > rule.until.seconds
    return f"{words}; {cost}, which {'does not fit, so looks have ended' if ends else 'fits'}."
