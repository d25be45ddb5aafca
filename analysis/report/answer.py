"""The answer of a report: sentences built from its results, the most important one first."""

from __future__ import annotations

import itertools
from collections import Counter

from analysis import wording
from analysis.claims import judge as claims
from analysis.claims.judge import Verdict
from analysis.report.tables import BEST, TIED, best_arm, best_arms
from analysis.statistics.intervals import Interval
from analysis.study import Study
from analysis.wording import quoted

MOST_NAMED = 5
"""A sentence names at most so many arms that are not distinguishable from the best one."""


def answer(study: Study, verdicts: list[Verdict]) -> list[str]:
    """Sentences on the first metric, the other metrics, the claims, and missing results.

    If an arm that is not trained is best, or not distinguishable from the best arm, the first sentence says so. Arms
    with different data or masks are not compared: each group of comparable arms has its own sentence, first that of
    the baseline.
    """
    first = study.metrics[0]
    if not any(study.values(name, first) for name in study.names):
        return [*study.search_failures, _nothing(study, first)]
    groups = sorted(study.groups_in(first), key=lambda group: study.baseline not in group)
    if len(groups) == 1:
        sentences = [_first(study, first, groups[0])]
        alike = [metric for metric in study.metrics[1:] if study.groups_in(metric) == groups]
        sentences += [sentence for metric in alike if (sentence := _other(study, metric, groups[0]))]
    else:
        sentences = [f"{_level(study, group)}: {_first(study, first, group)}" for group in groups]
    return [
        *study.search_failures,
        *sentences,
        *_claims(verdicts),
        *_decided_though_tied(study, verdicts),
        *_missing(study),
    ]


def _level(study: Study, group: list[str]) -> str:
    """The conditions of a group of arms: the factor levels that they share, or else its first arm."""
    factors = [set(study.arm(name).factors.values()) for name in group]
    shared = [label for label in study.arm(group[0]).factors.values() if all(label in levels for levels in factors)]
    return f"At {wording.listing(shared)}" if shared else f"Under the conditions of {quoted(group[0])}"


def _untrained(study: Study, arm: str) -> str:
    """What an arm is that the study does not train: 'a fill without training'."""
    if study.arm(arm).outputs:
        return "the output of another program"
    return f"a {_fill(study)} without training"


def _fill(study: Study) -> str:
    return "fill" if study.plan["task"] == "inpaint" else "baseline"


def mean_text(study: Study, arm: str, metric: str) -> str:
    """'27.31 ± 0.12 dB, n = 8'."""
    interval = study.interval(arm, metric)
    if interval is None:
        return "no result"
    return f"{wording.with_unit(wording.plus_minus(interval), metric)}, {wording.evidence(interval)}"


def _first(study: Study, metric: str, group: list[str]) -> str:
    alone = study.alone
    if alone:
        only = "the only arm with results" if study.search_failures else "the only arm"
        return f"{_named(study, alone)} is {only}: {wording.label(metric)} {mean_text(study, alone, metric)}."
    marks = best_arms(study, metric, group)
    trained = [name for name in group if study.arm(name).trains]
    if not any(study.values(name, metric) for name in trained or group):
        return _only_fills(study, metric, marks)
    if not marks:
        return f"It is not known whether higher or lower {wording.label(metric)} is better; see the table."
    best = best_arm(marks)
    tied = [name for name, mark in marks.items() if mark == TIED]
    fills = [name for name in tied if not study.arm(name).trains]
    if not study.arm(best).trains:
        return _fill_wins(study, metric, best, [name for name in trained if study.values(name, metric)])
    if fills:
        return _fill_ties(study, metric, best, fills)
    words = f"{_named(study, best)} has the best {wording.label(metric)}: {mean_text(study, best, metric)}"
    if len(marks) < len(group) and not any(study.values(name, metric) for name in group if name != best):
        return f"{words}; no other arm has results yet."
    return f"{words}{_margin(study, metric, best, group)}."


def _named(study: Study, arm: str) -> str:
    return f"The baseline {quoted(arm)}" if arm == study.arm(arm).baseline else quoted(arm)


def _margin(study: Study, metric: str, best: str, group: list[str]) -> str:
    """The lead of the best arm over the baseline, or over the next arm if the baseline is best."""
    if len(study.seeds) == 1:
        return "; with one seed, arms cannot be distinguished"
    tied = [name for name, mark in best_arms(study, metric, group).items() if mark == TIED]
    rivals = [name for name in group if name != best and study.values(name, metric)]
    baseline = study.arm(best).baseline
    other = baseline
    if best == baseline and rivals:
        other = min(rivals, key=lambda name: abs(_mean(study, name, metric) - _mean(study, best, metric)))
    parts = []
    if other in rivals and other not in tied and (gap := study.difference(best, other, metric)):
        role = "the baseline" if other == baseline else "the next arm,"
        parts.append(f"{wording.against(gap, metric, other).replace('than ', f'than {role} ', 1)}{_pairs(gap)}")
    if tied:
        parts.append(_not_distinguishable(tied, len(rivals), baseline))
    return "".join(f"; {part}" for part in parts)


def _not_distinguishable(tied: list[str], rivals: int, baseline: str = "") -> str:
    """Names the tied arms if they are few; the table marks them all. rivals: number of other arms with results."""
    words = "it is not distinguishable from"
    named = [f"the baseline {quoted(name)}" if name == baseline else quoted(name) for name in tied]
    if len(tied) <= MOST_NAMED:
        return f"{words} {wording.listing(named)}"
    if len(tied) == rivals:
        return f"{words} any of the {rivals} other arms"
    return f"{words} {len(tied)} of the {rivals} other arms{', among them the baseline' if baseline in tied else ''}"


def _mean(study: Study, arm: str, metric: str) -> float:
    interval = study.interval(arm, metric)
    return interval.mean if interval else float("nan")


def _pairs(gap: Interval) -> str:
    if gap.exact:
        return " (95 % interval over photographs)" if gap.photographs else ""
    return f" (95 % interval, n = {wording.count(gap.n, 'pair')})"


def _fill_wins(study: Study, metric: str, best: str, trained: list[str]) -> str:
    what = _untrained(study, best)
    words = f"{what[0].upper()}{what[1:]} is best: {quoted(best)} has the best {wording.label(metric)}, "
    words += mean_text(study, best, metric)
    if not trained:
        return f"{words}; the study trains no arm."
    top = max(trained, key=lambda name: wording.sign(metric) * _mean(study, name, metric))
    gap = study.difference(top, best, metric)
    if gap is None:
        return f"{words}."
    tie = ", which is not distinguishable from it" if gap.contains(0.0) else ""
    own = f"{mean_text(study, top, metric)}, {wording.against(gap, metric, best)}"
    return f"{words}; the best trained arm is {quoted(top)}{tie}: {own}."


def _fill_ties(study: Study, metric: str, best: str, fills: list[str]) -> str:
    kinds: dict[str, list[str]] = {}
    for name in fills:
        kinds.setdefault(_untrained(study, name), []).append(f"{quoted(name)} ({mean_text(study, name, metric)})")
    others = "; nor from ".join(f"{what}: {wording.listing(names)}" for what, names in kinds.items())
    few = "With one seed, arms cannot be distinguished: the" if len(study.seeds) == 1 else "The"
    lead = f"{few} best arm in {wording.label(metric)}, {quoted(best)} ({mean_text(study, best, metric)}),"
    return f"{lead} is not distinguishable from {others}."


def _other(study: Study, metric: str, group: list[str]) -> str:
    """The best arm in another metric; '' while no arm has results that is trained, although some are."""
    trained = [name for name in group if study.arm(name).trains]
    if trained and not any(study.values(name, metric) for name in trained):
        return ""
    marks = best_arms(study, metric, group)
    best = best_arm(marks)
    if not best:
        return ""
    tied = [name for name, mark in marks.items() if mark == TIED]
    rivals = sum(bool(study.values(name, metric)) for name in group) - 1
    also = f"; {_not_distinguishable(tied, rivals)}" if tied else ""
    return f"In {wording.label(metric)}, {quoted(best)} is best: {mean_text(study, best, metric)}{also}."


def _claims(verdicts: list[Verdict]) -> list[str]:
    if not verdicts:
        return []
    counts = Counter(verdict.verdict for verdict in verdicts)
    if len(verdicts) == 1:
        verb = "" if counts[claims.HOLDS] or counts[claims.FAILS] else "is "
        return [f"The claim {verb}{verdicts[0].words}."]
    words = {
        claims.HOLDS: "hold" if counts[claims.HOLDS] > 1 else "holds",
        claims.FAILS: "do not hold" if counts[claims.FAILS] > 1 else "does not hold",
        **{open: f"{'are' if counts[open] > 1 else 'is'} {open}" for open in (claims.UNDECIDED, claims.NOT_TESTED)},
    }
    size = claims.at_size(verdicts[0].size)
    parts = [f"{counts[verdict]} {words[verdict]}{size}" for verdict in words if counts[verdict]]
    return [f"Of {wording.count(len(verdicts), 'claim')}, {wording.listing(parts)}."]


def _decided_though_tied(study: Study, verdicts: list[Verdict]) -> list[str]:
    """Why a claim is decided about two arms that the table does not distinguish."""
    sentences = []
    for claim, verdict in zip(study.plan.get("claims") or [], verdicts, strict=True):
        metric = claim.get("metric")
        if verdict.verdict in (claims.UNDECIDED, claims.NOT_TESTED) or metric not in study.metrics or "epoch" in claim:
            continue
        pairs = [(claim["better"], claim["than"])] if "better" in claim else itertools.pairwise(claim.get("order", []))
        for pair in pairs:
            marks = next(
                (best_arms(study, metric, group) for group in study.groups_in(metric) if {*pair} <= {*group}), {}
            )
            if sorted(marks.get(name, "") for name in pair) == sorted((BEST, TIED)):
                best, tied = sorted(pair, key=lambda name: marks[name] != BEST)
                sentences.append(
                    f"The claim “{verdict.text}” {verdict.words}, although in the table {quoted(tied)} is not "
                    f"distinguishable from {quoted(best)}: the claim is judged on the interval of its own difference, "
                    "simultaneous for the claims only, and the table on intervals for all pairs of arms at once."
                )
    return sentences


def _missing(study: Study) -> list[str]:
    states = study.states()
    total, done = sum(states.values()), states["done"]
    waiting = [f"The searches for {wording.listing(map(quoted, study.waiting))} are not finished."]
    if len(study.waiting) < 2:
        waiting = [f"The search for {quoted(name)} is not finished." for name in study.waiting]
    if done == total:
        return waiting
    open_cells = states["running"] + states["queued"] + states["interrupted"] + states["damaged"]
    words = "The answer may still change" if open_cells else "Failed cells are not part of any mean"
    return [f"{total - done} of {total} cells are missing ({_counts(states)}). {words}.", *waiting]


def _counts(states: Counter[str]) -> str:
    return wording.listing(
        f"{states[s]} {s}" for s in ("running", "queued", "interrupted", "damaged", "failed") if states[s]
    )


def _nothing(study: Study, metric: str) -> str:
    states = study.states()
    if not states:
        return (
            "No answer: no search has a result." if study.search_failures else "No answer yet: no search has finished."
        )
    if states["done"]:
        return f"No answer: no finished trial has a finite {wording.label(metric)}."
    if states["failed"] == sum(states.values()):
        errors = Counter(str((cell.progress.error or {}).get("type", "an error")) for cell in study.cells)
        return f"No answer: all {states['failed']} cells failed, most often with {errors.most_common(1)[0][0]}."
    return f"No answer yet: no trial has finished ({_counts(states)})."


def _only_fills(study: Study, metric: str, marks: dict[str, str]) -> str:
    best = best_arm(marks)
    among = "arms that are not trained" if best and study.arm(best).outputs else f"{_fill(study)}s without training"
    shown = f"; of the {among} {quoted(best)} is best: {mean_text(study, best, metric)}" if best else ""
    return f"No answer yet: no trained arm has a finished trial with a finite {wording.label(metric)}{shown}."
