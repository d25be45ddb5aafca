"""Changes of a sweep's plan by its author, and whether results already existed at that time.

Each stored plan is a version. A version with the same file text and `--set` values as the one before it was written
because a search finished or because of other command-line options, so it does not count as a change by the author.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from analysis import wording
from analysis.study import Study

Plan = Mapping[str, Any]
_PARTS = (
    ("claims", "the claims"),
    ("seeds", "the seeds"),
    ("looks", "the looks"),
    ("report", "the report options"),
    ("baseline", "the baseline"),
    ("search", "the search"),
)


def plan_count(study: Study) -> int:
    """Number of plans made by the author; 1 if the sweep was never changed."""
    return len(_authored(study))


def change_sentences(study: Study) -> list[str]:
    """One sentence for each change made after the first result: when, and of what."""
    seen = [result["ended_at"] for result in study.results.values() if result.get("ended_at") is not None]
    if not seen:
        return []
    return [
        f"The plan was changed after results existed, {_moment(after['planned_at'])}: {wording.listing(parts)}."
        for before, after in pairwise(_authored(study))
        if min(seen) < after["planned_at"] and (parts := list(_differences(before, after)))
    ]


def _authored(study: Study) -> list[Plan]:
    """The versions whose file text or `--set` values differ from the one before."""
    authored: list[Plan] = []
    for plan in study.versions:
        if not authored or _request(plan) != _request(authored[-1]):
            authored.append(plan)
    return authored


def _request(plan: Plan) -> tuple[Any, ...]:
    return plan.get("text"), tuple(plan.get("changes") or ())


def _differences(before: Plan, after: Plan) -> Iterator[str]:
    """The differences in words; none if only comments changed."""
    yield from (words for key, words in _PARTS if _without_arms(before, key) != _without_arms(after, key))
    then, now = (
        {arm["name"]: arm for arm in plan["arms"] if not _is_from_search(plan, arm)} for plan in (before, after)
    )
    added, gone = [name for name in now if name not in then], [name for name in then if name not in now]
    changed = [name for name in now if name in then and _configuration(now[name]) != _configuration(then[name])]
    for names, verb in ((added, "added"), (gone, "removed"), (changed, "changed")):
        if names:
            shown = [wording.quoted(name) for name in names[:4]]
            rest = [f"{len(names) - 4} more"] if len(names) > 4 else []
            yield f"{wording.count(len(names), 'arm')} {verb} ({wording.listing([*shown, *rest])})"


def _without_arms(plan: Plan, key: str) -> Any:
    value = None if key == "seeds" and plan.get("looks") else plan.get(key)  # looks add seeds as they were planned to
    return {k: v for k, v in value.items() if k != "arms"} if key == "search" and value else value


def _is_from_search(plan: Plan, arm: Mapping[str, Any]) -> bool:
    """Whether a search created an arm or chose its configuration."""
    search = plan.get("search")
    if not search:
        return False
    return arm["name"].partition(" #")[0] in (search["arms"] if search["within_arms"] else ("tuned",))


def _configuration(arm: Mapping[str, Any]) -> Any:
    return arm["config"]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
