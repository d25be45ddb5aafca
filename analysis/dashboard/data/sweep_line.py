"""A sweep in the list of sweeps, and the summary of it that is cached in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis import studies, wording
from analysis.claims import judge as claims
from analysis.report import answer, tables
from analysis.study import Study
from analysis.trial_times import trial_seconds
from sweeps import sizes
from sweeps.results import progress
from sweeps.store.base import Store


@dataclass(frozen=True)
class SweepSummary:
    """Facts about a sweep for the list of sweeps; computing them reads the whole sweep."""

    question: str
    task: str
    planned_at: float
    """Time of the newest plan, seconds since 1970."""
    plans: int
    """Number of stored plans."""
    done: int
    """Number of finished trials."""
    total: int
    """Number of trials."""
    over: bool
    """Whether all trials and searches are done."""
    best_arm: str
    """Name of the arm with the best mean; '' if there is none."""
    best: str
    """Mean of the best arm, such as '27.31 ± 0.12 dB, n = 8'; '' if there is none."""
    value: float | None
    """Mean of the best arm."""
    metric: str
    """Label of the metric."""
    seconds: float
    """Computing time of the finished trials."""
    ended_at: float | None
    """When the last finished trial ended, seconds since 1970."""
    holds: int
    """Number of claims that hold."""
    claims: int
    """Number of claims."""
    damaged: int = 0
    """Number of trials whose results cannot be read."""
    size: str = sizes.FULL
    """The size at which the sweep was run."""


@dataclass(frozen=True)
class SweepLine:
    """A sweep in the list."""

    name: str
    question: str
    task: str
    total: int
    """Number of trials."""
    states: Counter[str]
    """Number of trials by state; empty until they have been read."""
    searching: bool
    """Whether a search has not ended."""
    planned_at: float
    """Time of the newest plan, seconds since 1970."""
    summary: SweepSummary | None
    """None until it has been computed, and if the sweep is unreadable."""
    unreadable: bool = False
    """Whether computing the summary failed."""

    @property
    def known(self) -> bool:
        """Whether the states of its trials have been read."""
        return bool(self.states) or not self.total

    @property
    def state(self) -> str:
        """State of the sweep in one word; '' if it is not known yet."""
        if not self.known:
            return ""
        for state in ("running", "failed", "interrupted", progress.EXTENDED, "damaged", "queued"):
            if self.states[state]:
                return state
        return "done" if self.total and not self.searching else "queued"

    @property
    def changed_at(self) -> float:
        """When the last trial ended or the sweep was planned, whichever is later; seconds since 1970."""
        return max(self.planned_at, (self.summary.ended_at or 0.0) if self.summary else 0.0)


def finished_line(name: str, summary: SweepSummary) -> SweepLine:
    """The line of a finished sweep, from its summary alone."""
    states = Counter({"done": summary.total})
    return SweepLine(name, summary.question, summary.task, summary.total, states, False, summary.planned_at, summary)


def summarise(store: Store, name: str) -> SweepSummary:
    """Read a whole sweep and summarise it. An extended sweep without new results keeps its former best arm and cost."""
    study = studies.read(store, name)
    verdicts = claims.judge(study)
    summary = _summary_of(study, verdicts)
    if study.results or not (before := _before_extension(study)):
        return summary
    old = _summary_of(before, verdicts)
    best = f"{old.best} (with fewer epochs)" if old.best else ""
    return replace(summary, best_arm=old.best_arm, best=best, seconds=old.seconds, ended_at=old.ended_at)


def _summary_of(study: Study, verdicts: Sequence[claims.Verdict]) -> SweepSummary:
    metric = study.metrics[0]
    group = next(group for group in study.groups if study.baseline in group)
    best = study.alone or tables.best_arm(tables.best_arms(study, metric, group))
    interval = study.interval(best, metric) if best else None
    best = best if interval else ""
    ended = [result["ended_at"] for result in study.results.values() if result.get("ended_at")]
    states = {(cell.trial, cell.epochs): cell.state for cell in study.cells}
    done = sum(state == "done" for state in states.values())
    return SweepSummary(
        question=str(study.plan.get("question") or ""),
        task=str(study.plan.get("task") or ""),
        planned_at=float(study.plan.get("planned_at") or 0.0),
        plans=len(study.versions),
        done=done,
        total=len(states),
        over=done == len(states) and bool(states) and all(search.done for search in study.searches),
        best_arm=best,
        best=answer.mean_text(study, best, metric) if best else "",
        value=interval.mean if interval else None,
        metric=wording.label(metric),
        seconds=sum(trial_seconds(study).values()),
        ended_at=max(ended, default=None),
        holds=sum(one.verdict == claims.HOLDS for one in verdicts),
        claims=len(verdicts),
        size=study.size,
        damaged=sum(state == "damaged" for state in states.values()),
    )


def _before_extension(study: Study) -> Study | None:
    """The newest earlier plan of a sweep with results, as a study; None if there is none."""
    for plan in reversed(study.versions[:-1]):
        before = studies.of_plan(study.store, study.name, dict(plan))
        if before.results:
            return before
    return None
