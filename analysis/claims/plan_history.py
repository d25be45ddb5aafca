"""What a sweep's author changed in its plan, and whether results had been seen by then.

Each stored plan is a version. One that differs from the version before it in neither the file's text nor `--set` was
written because a search was done, or with other options of the command: nobody changed what is asked.
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
    ("report", "what is reported"),
    ("baseline", "the baseline"),
    ("search", "the search"),
)


def number(study: Study) -> int:
    """How many plans the author has made: 1 for a sweep that was never changed."""
    return len(_asked(study))


def sentences(study: Study) -> list[str]:
    """One for each change that was made after the first result was there: when, and of what."""
    seen = [result["ended_at"] for result in study.results.values() if result.get("ended_at") is not None]
    if not seen:
        return []
    return [
        f"The plan was changed after results were there, {_moment(after['planned_at'])}: {wording.listing(parts)}."
        for before, after in pairwise(_asked(study))
        if min(seen) < after["planned_at"] and (parts := list(_differences(before, after)))
    ]


def _asked(study: Study) -> list[Plan]:
    """The versions whose text or `--set` differs from the one before."""
    found: list[Plan] = []
    for plan in study.versions:
        if not found or _wish(plan) != _wish(found[-1]):
            found.append(plan)
    return found


def _wish(plan: Plan) -> tuple[Any, ...]:
    return plan.get("text"), tuple(plan.get("changes") or ())


def _differences(before: Plan, after: Plan) -> Iterator[str]:
    """What differs, in words; nothing for a change of comments alone."""
    yield from (words for key, words in _PARTS if _without_arms(before, key) != _without_arms(after, key))
    then, now = ({arm["name"]: arm for arm in plan["arms"] if not _is_found(plan, arm)} for plan in (before, after))
    added, gone = [name for name in now if name not in then], [name for name in then if name not in now]
    changed = [name for name in now if name in then and _configuration(now[name]) != _configuration(then[name])]
    for names, verb in ((added, "added"), (gone, "left out"), (changed, "changed")):
        if names:
            shown = [wording.quoted(name) for name in names[:4]]
            rest = [f"{len(names) - 4} more"] if len(names) > 4 else []
            yield f"{wording.count(len(names), 'arm')} {verb} ({wording.listing([*shown, *rest])})"


def _without_arms(plan: Plan, key: str) -> Any:
    value = plan.get(key)
    return {k: v for k, v in value.items() if k != "arms"} if key == "search" and value else value


def _is_found(plan: Plan, arm: Mapping[str, Any]) -> bool:
    """Whether an arm exists, or has its values, because of a search."""
    search = plan.get("search")
    if not search:
        return False
    return arm["name"].partition(" #")[0] in (search["arms"] if search["within_arms"] else ("tuned",))


def _configuration(arm: Mapping[str, Any]) -> Any:
    return arm["config"]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
