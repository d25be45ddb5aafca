"""Judges each claim of a study on the interval of a difference that is paired by seed.

A claim holds if the whole interval agrees with it, does not hold if the whole interval contradicts it, and is undecided
otherwise or if there are too few results. Some claims are not tested by a study at all, see `not_tested`. For an
undecided claim the report estimates how many further seeds would decide it, if mean and standard deviation stay the
same. The intervals cover simultaneously in 95 % of studies (Bonferroni over all comparisons that the study's claims
make), so the number of claims does not produce verdicts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis import wording
from analysis.claims import gate_verdict, looks, not_tested, published
from analysis.claims.sides import claimed_arms, of_one_arm
from analysis.statistics.intervals import LEVEL, Interval, more_seeds, paired_difference, simultaneous_level
from analysis.study import Study
from analysis.wording import quoted
from sweeps import sizes
from sweeps.results import columns as record_columns

HOLDS, FAILS, UNDECIDED, NOT_TESTED = "holds", "does not hold", "undecided", "not tested"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_TESTED)
_DIVERGED = ("Diverged", "FloatingPointError")
"""Types of the errors that end a training whose loss is not finite."""
_FAMILY = "family"
"""Key added to a claim: the number of comparisons that all claims of the study make."""
_SERIES = "series"
"""Key added to a claim: its comparisons at the looks of a study that adds seeds; empty for other studies."""
_ALONE = "seeds alone"
"""Key added to a claim: whether its looks are over seeds alone, where tables cover test photographs as well."""
_GATE = "gate"
"""Key added to a claim: what a gate says about it; None for other studies."""


@dataclass(frozen=True)
class Verdict:
    """A claim and its verdict."""

    text: str
    verdict: str
    """One of `VERDICTS`."""
    sentence: str
    """The evidence: the difference with its interval and n."""
    source: str = ""
    """Where the document makes the claim."""
    ours: str = ""
    """The difference on which the claim was judged, with its interval; '' if there is none."""
    published: str = ""
    """The document's own values for the same arms, converted to our unit; '' if there are none."""
    size: str = sizes.FULL
    """The size at which the study was run."""
    difference: Interval | None = None
    """The difference of `ours`, with its number of seeds and the standard deviation of one pair."""

    @property
    def words(self) -> str:
        """The verdict as it is shown: below full size, it says so."""
        return self.verdict + at_size(self.size)


@dataclass(frozen=True)
class _Finding:
    """Verdict and sentence of one comparison."""

    verdict: str
    sentence: str
    interval: Interval | None = None


def at_size(size: str) -> str:
    """What a verdict below full size adds: ' at small size'."""
    return "" if size == sizes.FULL else f" at {size} size"


def judge(study: Study) -> list[Verdict]:
    """The verdict on each claim of the study's plan, in its order."""
    claims = study.plan.get("claims") or []
    family, gate = looks.family(study), gate_verdict.of_study(study)
    common = {_FAMILY: family, _GATE: gate, _ALONE: study.plan.get("task") == "detect"}
    return [_judge(study, {**claim, **common, _SERIES: tuple(looks.series(study, claim, family))}) for claim in claims]


def _level(claim: Mapping[str, Any]) -> float:
    return simultaneous_level(claim[_FAMILY])


def _judge(study: Study, claim: Mapping[str, Any]) -> Verdict:
    if missing := [name for name in claimed_arms(claim) if name not in study.names]:
        finding = _Finding(UNDECIDED, f"The plan has no arm {wording.listing(map(quoted, missing))}{_why(study)}.")
    elif "better" in claim:
        finding = _better(study, claim, claim["better"], claim["than"], float(claim.get("by") or 0.0))
    elif "not_worse" in claim:
        finding = _better(study, claim, claim["not_worse"], claim["than"], -float(claim["within"]))
    elif "equal" in claim:
        finding = _equal(study, claim, float(claim["within"]))
    elif "order" in claim:
        finding = _order(study, claim)
    elif "improves" in claim or "settles" in claim:
        finding = _progress(study, claim)
    elif "above" in claim:
        finding = _above(study, claim)
    elif "like" in claim:
        finding = _like(study, claim)
    elif "fails" in claim:
        finding = _fails(study, claim["fails"], claim.get("metric"))
    else:
        finding = _Finding(UNDECIDED, "This version cannot judge claims of this kind.")
    sentences = [finding.sentence, *(part.sentence() for part in claim[_SERIES])]
    if gate := claim[_GATE]:
        finding, sentences = replace(finding, verdict=HOLDS if gate.kept else UNDECIDED), [*sentences, gate.sentence]
    if reason := not_tested.why(study, claim, claimed_arms(claim)):
        finding, sentences = _Finding(NOT_TESTED, finding.sentence, finding.interval), [reason, finding.sentence]
    ours = "" if finding.interval is None else _difference(finding.interval, "" if "like" in claim else claim["metric"])
    ours += " as a share" if ours and "like" in claim else ""
    theirs = published_text(
        study.plan["report"].get("published"), {arm.name: arm.published for arm in study.arms}, claim
    )
    source = str(claim.get("source") or "")
    evidence = " ".join(sentences)
    return Verdict(str(claim["text"]), finding.verdict, evidence, source, ours, theirs, study.size, finding.interval)


def _difference(interval: Interval, metric: str) -> str:
    """'+1.20 dB [+0.98, +1.42]'."""
    digits = wording.decimals([interval])
    size = wording.with_unit(wording.fixed(interval.mean, digits, plus=True), metric)
    return f"{size} {wording.brackets(interval, digits, plus=True)}".rstrip()


def published_text(
    reference: Mapping[str, Any] | None, variants: Mapping[str, str | None], claim: Mapping[str, Any]
) -> str:
    """The document's values for the claim's arms, in the claim's order: '19.09 against 18.16'.

    reference: `report.published` of the plan. variants: the document's name of each arm.
    """
    if not reference or "metric" not in claim:
        return ""
    by_arm = [
        published.lookup(reference, variants.get(arm), claim["metric"], claim.get("epoch")) if variants.get(arm) else []
        for arm in claimed_arms(claim)
    ]
    if not by_arm or not all(by_arm):
        return ""
    return (" > " if "order" in claim else " against ").join(
        " or ".join(dict.fromkeys(figure.text for figure in figures)) for figures in by_arm
    )


def _why(study: Study) -> str:
    if any(search.failure for search in study.searches):
        return ": its search has no result"
    return ": its search is not finished" if any(not search.done for search in study.searches) else ""


def _paired(claim: Mapping[str, Any], plain: Interval | None, number: int = 0) -> Interval | None:
    """The interval of a claim's comparison: where looks add seeds, the one that holds at every look.

    plain: for a number of seeds that was fixed. number: of the comparison, from 0.
    """
    if not claim[_SERIES] or plain is None or plain.exact:
        return plain
    return claim[_SERIES][number].interval() or Interval(plain.mean, plain.sd, None, None, plain.n)


def _better(study: Study, claim: Mapping[str, Any], a: str, b: str, by: float) -> _Finding:
    metric = claim["metric"]
    number = claim["order"].index(a) if "order" in claim else 0
    difference = _paired(claim, study.difference(a, b, metric, claim.get("epoch"), _level(claim)), number)
    sentence = _sentence(study, claim, a, b, difference)
    if wording.sign(metric) == 0:
        return _Finding(UNDECIDED, f"{_no_direction(metric)} {sentence}")
    if difference is None or difference.bounds is None:
        return _Finding(UNDECIDED, sentence, difference)
    toward = difference if wording.sign(metric) > 0 else difference.negated()
    low, high = toward.bounds or (toward.mean, toward.mean)
    limit = wording.with_unit(f"{abs(by):g}", metric)
    needed = (
        f" The claim requires at least {limit}." if by > 0 else f" Not worse means by at most {limit}." if by else ""
    )
    if low > by or (by and low == by):
        return _Finding(HOLDS, sentence + needed, difference)
    if high < by or (by == 0 and high <= 0):
        return _Finding(FAILS, sentence + needed, difference)
    what = "this limit" if by else "zero"
    more = f"The interval includes {what}{_more(toward, [by], claim)}."
    return _Finding(UNDECIDED, f"{sentence}{needed} {more}", difference)


def _progress(study: Study, claim: Mapping[str, Any]) -> _Finding:
    """An arm against itself at an earlier epoch: it improves by more than a margin, or settles within one."""
    arm, metric, after = str(claim.get("improves") or claim.get("settles")), claim["metric"], claim["after"]
    end, then = study.values(arm, metric, claim.get("epoch")), study.values(arm, metric, after)
    gain = _paired(claim, study.of_seeds(metric, paired_difference(end, then, _level(claim))))
    if gain is None:
        return _Finding(UNDECIDED, _nothing(study, arm, arm, metric, after))
    if wording.sign(metric) == 0:
        return _Finding(UNDECIDED, _no_direction(metric))
    toward = gain if wording.sign(metric) > 0 else gain.negated()
    digits = wording.decimals([toward])
    size = wording.with_unit(wording.fixed(toward.mean, digits), metric)
    pairs = f"{_interval(claim, of_seeds=True)}, n = {wording.count(gain.n, 'seed')}"
    until = f"epoch {claim['epoch']}" if "epoch" in claim else "the end"
    sentence = (
        f"{quoted(arm)} gains {size} {wording.brackets(toward, digits)} in {wording.label(metric)} "
        f"from epoch {after} to {until} ({pairs}{_lost(study, gain.n)})."
    )
    if toward.bounds is None:
        return _Finding(UNDECIDED, sentence)
    low, high = toward.bounds
    if "settles" in claim:
        within = float(claim["within"])
        margin = f" Settled means a gain of at most {wording.with_unit(f'{within:g}', metric)}."
        verdict = HOLDS if high <= within else FAILS if low > within else UNDECIDED
        return _Finding(verdict, sentence + margin, toward)
    by = float(claim.get("by") or 0.0)
    return _Finding(HOLDS if low > by else FAILS if high <= by else UNDECIDED, sentence, toward)


def _equal(study: Study, claim: Mapping[str, Any], within: float) -> _Finding:
    a, b = claim["equal"]
    difference = _paired(claim, study.difference(a, b, claim["metric"], claim.get("epoch"), _level(claim)))
    sentence = _sentence(study, claim, a, b, difference)
    if difference is None or difference.bounds is None:
        return _Finding(UNDECIDED, sentence)
    low, high = difference.bounds
    margin = f" Equal means within {wording.with_unit(f'{within:g}', claim['metric'])}."
    if -within <= low and high <= within:
        return _Finding(HOLDS, sentence + margin, difference)
    if low > within or high < -within:
        return _Finding(FAILS, sentence + margin, difference)
    more = _more(difference, [-within, within], claim)
    return _Finding(UNDECIDED, f"{sentence}{margin} The interval includes this limit{more}.", difference)


def _order(study: Study, claim: Mapping[str, Any]) -> _Finding:
    findings = [_better(study, claim, a, b, 0.0) for a, b in itertools.pairwise(claim["order"])]
    verdicts = {finding.verdict for finding in findings}
    verdict = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
    return _Finding(verdict, " ".join(finding.sentence for finding in findings))


def _above(study: Study, claim: Mapping[str, Any]) -> _Finding:
    """A metric of an arm against another of its metrics or a number; with `over`, the shares gained over an arm."""
    arm, metric, other = claim["arm"], claim["metric"], claim["above"]
    epoch = claim.get("epoch")
    here, there = of_one_arm(study, claim)
    against = f"its {wording.label(other)}" if isinstance(other, str) else wording.with_unit(f"{other:g}", metric)
    both = None if epoch is not None else study.gap(arm, metric, other, _level(claim), claim.get("over"))
    gap = _paired(claim, both or study.of_seeds(metric, paired_difference(here, there, _level(claim))))
    if gap is None:
        lacking = str(other) if here else metric
        return _Finding(UNDECIDED, _nothing(study, arm, str(claim.get("over", arm)), lacking, epoch))
    digits = wording.decimals([gap])
    shares = f", both as the share gained of what {quoted(claim['over'])} leaves to 1," if "over" in claim else ""
    sentence = (
        f"{wording.label(metric)} of {quoted(arm)} minus {against}{shares} is "
        f"{wording.fixed(gap.mean, digits, plus=True)} {wording.brackets(gap, digits, plus=True)} "
        f"({_interval(claim)}, {_seeds(study, gap)})."
    )
    if gap.bounds is None:
        return _Finding(UNDECIDED, sentence, gap)
    low, high = gap.bounds
    if low <= 0 < high:
        return _Finding(UNDECIDED, f"{sentence} The interval includes zero{_more(gap, [0.0], claim)}.", gap)
    return _Finding(HOLDS if low > 0 else FAILS, sentence, gap)


def _like(study: Study, claim: Mapping[str, Any]) -> _Finding:
    """The relative difference of two metrics of an arm."""
    arm, metric, other, epoch = claim["arm"], claim["metric"], claim["like"], claim.get("epoch")
    both = None if epoch is not None else study.relative_gap(arm, metric, other, _level(claim))
    gap = _paired(claim, both or study.of_seeds(metric, paired_difference(*of_one_arm(study, claim), _level(claim))))
    if gap is None:
        lacking = other if study.values(arm, metric, epoch) else metric
        return _Finding(UNDECIDED, _nothing(study, arm, arm, lacking, epoch))
    digits = wording.decimals([gap])
    share = float(claim["share"])
    sentence = (
        f"{wording.label(metric)} of {quoted(arm)} differs from its {wording.label(other)} by the share "
        f"{wording.fixed(gap.mean, digits, plus=True)} {wording.brackets(gap, digits, plus=True)} "
        f"({_interval(claim)}, {_seeds(study, gap)}). Alike means a share of at "
        f"most {share:g}."
    )
    if gap.bounds is None:
        return _Finding(UNDECIDED, sentence)
    low, high = gap.bounds
    verdict = HOLDS if -share <= low and high <= share else FAILS if low > share or high < -share else UNDECIDED
    return _Finding(verdict, sentence, gap)


def _fails(study: Study, arm: str, metric: str | None) -> _Finding:
    """An arm fails if its training diverges or ends without a finite value of the metric.

    A trial that ended with another error (a full disk, a killed process) does not count for or against the claim.
    """
    cells = [cell for cell in study.cells if cell.arm == arm]
    finite = len(study.values(arm, metric or study.metrics[0]))
    errors = Counter(str((cell.progress.error or {}).get("type")) for cell in cells if cell.state == "failed")
    diverged = sum(n for error, n in errors.items() if error in _DIVERGED)
    failed = diverged + study.states(arm)["done"] - finite
    sentence = f"{failed} of {wording.count(len(cells), 'seed')} of {quoted(arm)} failed to train, {finite} finished"
    others = [f"{n} ended with {error}" for error, n in errors.items() if error not in _DIVERGED]
    sentence = "; ".join([sentence, *others])
    if failed + finite < len(cells):
        return _Finding(UNDECIDED, f"{sentence}; {len(cells) - failed - finite} undecided.")
    verdict = HOLDS if finite == 0 else FAILS if failed == 0 else UNDECIDED
    return _Finding(verdict, f"{sentence}.")


def _sentence(study: Study, claim: Mapping[str, Any], a: str, b: str, difference: Interval | None) -> str:
    """The difference of a and b with its interval and n, or why there is none."""
    metric, epoch = claim["metric"], claim.get("epoch")
    when = "at the median epoch" if metric.startswith(record_columns.SYSTEM + "/") else study.at_epoch()
    place = f"{wording.label(metric)} " + (f"after epoch {epoch}" if epoch is not None else when)
    if difference is None:
        return _nothing(study, a, b, metric, epoch)
    pairs = "one evaluation each" if difference.exact else f"n = {wording.count(difference.n, 'pair')} of seeds"
    if difference.photographs:
        pairs += f" and {wording.count(difference.photographs, 'test photograph')}"
    if difference.exact and not difference.photographs and difference.bounds:
        pass
    elif difference.bounds is not None:
        pairs = f"{_interval(claim)}, {pairs}"
    else:
        pairs += ", so there is no interval"
    lost = "" if difference.exact else _lost(study, difference.n)
    return f"{quoted(a)} is {wording.against(difference, metric, b)} in {place} ({pairs}{lost})."


def _seeds(study: Study, gap: Interval) -> str:
    """'n = 8 seeds and 400 test photographs; 1 of 8 missing'."""
    of = f" and {wording.count(gap.photographs, 'test photograph')}" if gap.photographs else ""
    if gap.exact:
        return f"one evaluation{of}"
    return f"n = {wording.count(gap.n, 'seed')}{of}{_lost(study, gap.n)}"


def _interval(claim: Mapping[str, Any], of_seeds: bool = False) -> str:
    """of_seeds: whether the claim is about an epoch of which no scores of single images are stored."""
    family = claim[_FAMILY]
    alone = " over seeds alone" if claim[_ALONE] else ""
    looked = f"{alone} that holds at every look" if claim[_SERIES] else alone if of_seeds else ""
    return (
        f"{LEVEL:.0%} interval".replace("%", " %")
        + looked
        + (f", simultaneous for {family} comparisons" if family > 1 else "")
    )


def _more(difference: Interval, limits: list[float], claim: Mapping[str, Any]) -> str:
    """'; about 5 more seeds would decide it'; empty where looks or a gate add seeds, as they tell more."""
    if claim[_SERIES] or claim[_GATE]:
        return ""
    if difference.exact:
        return "; only more test photographs could decide it"
    needed = [more_seeds(difference, limit, _level(claim)) for limit in limits]
    most = max((n for n in needed if n is not None), default=0)
    if None in needed or not most:
        return "; no feasible number of seeds would decide it, if the mean stays the same"
    return f"; about {most} more {'seed' if most == 1 else 'seeds'} would decide it"


def _lost(study: Study, n: int) -> str:
    missing = 0 if looks.planned(study) else len(study.seeds) - n
    return f"; {missing} of {len(study.seeds)} missing" if missing > 0 else ""


def _no_direction(metric: str) -> str:
    return f"It is not known whether higher or lower {wording.label(metric)} is better."


def _nothing(study: Study, a: str, b: str, metric: str, epoch: int | None) -> str:
    for name in (a, b):
        if not study.values(name, metric, epoch):
            known = study.epochs(name, metric)
            place = f" after epoch {epoch}" if epoch is not None else ""
            there = f"; it was evaluated after {wording.listing(map(str, known[:8]))}" if known and place else ""
            return f"{quoted(name)} has no {wording.label(metric)}{place} yet{there}."
    return f"{quoted(a)} and {quoted(b)} share no finished seed."
