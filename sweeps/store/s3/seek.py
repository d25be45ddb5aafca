"""Which of many objects are there, from few requests: a walk through the listing, or a question each.

A page of a listing holds a thousand objects, and answers for everything that is wanted among them. Where little of it
is wanted (one sweep's trials in a store of thousands) page after page would be read for a trial or two each: then each
object is asked about by itself (HEAD, a tenth of a listing's price), and each folder listed by itself, side by side.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from sweeps.store.parallel import side_by_side

Page = Callable[[str, str], dict[str, Any]]
"""Up to a thousand objects under a prefix, those after a name."""
Ask = Callable[[str], str | None]
"""The version of one object, None where there is none."""

_THREADS = 32
_SHARE = 250
"""Names that one walk looks for at least: with four objects a trial, fewer would share no page."""
_FEW = 8
"""So many objects are asked about one by one at once; of more, a page may hold most."""
_DENSE = 4
"""Trials or sweeps that a page has to answer for; a page takes as long as so many questions."""


def seek(page: Page, ask: Ask, names: set[str], top: int) -> dict[str, str]:
    """Name -> version of every object that is one of `names`, or lies below one that ends with `/`.

    top: the length of what all names begin with, which is no part of a folder's name.
    """
    wanted: list[str] = []
    for name in sorted(names):
        if not wanted or not (wanted[-1].endswith("/") and name.startswith(wanted[-1])):
            wanted.append(name)
    if len(wanted) <= _FEW and not any(name.endswith("/") for name in wanted):
        return _asked(page, ask, wanted)
    share = max(_SHARE, -(-len(wanted) // _THREADS))
    walks = [_Walk(page, wanted[start : start + share], top) for start in range(0, len(wanted), share)]
    side_by_side(_Walk.go, walks, _THREADS)
    found = {name: version for walk in walks for name, version in walk.found.items()}
    groups: dict[str, list[str]] = {}
    for name in [name for walk in walks for name in walk.left]:
        groups.setdefault(_group(name, top), []).append(name)
    whole = [group for group, few in groups.items() if not any(name.endswith("/") for name in few)]
    found |= _asked(page, ask, [name for group in whole for name in groups.pop(group)])
    walks = [_Walk(page, few, top, sparse=True) for few in groups.values()]
    side_by_side(_Walk.go, walks, _THREADS)
    return found | {name: version for walk in walks for name, version in walk.found.items()}


def _asked(page: Page, ask: Ask, names: list[str]) -> dict[str, str]:
    versions = side_by_side(ask, names, _THREADS)
    found = {name: version for name, version in zip(names, versions, strict=True) if version is not None}
    if names and not found:
        page(names[0], "")  # a missing bucket answers such a question like a missing object: a listing tells them apart
    return found


def _group(name: str, top: int) -> str:
    """A trial's or a sweep's folder."""
    return "/".join(name[top:].split("/", 2)[:2])


class _Walk:
    """Reads sorted names, none within another, from page to page, past what nobody wants.

    found: name -> version. left: names that are not looked for, since too few of them lie on a page; none of a walk
    that is told that they are `sparse`.
    """

    def __init__(self, page: Page, wanted: list[str], top: int, sparse: bool = False) -> None:
        self._page, self._wanted, self._top, self._sparse = page, wanted, top, sparse
        self.found: dict[str, str] = {}
        self.left: list[str] = []

    def go(self) -> None:
        wanted = self._wanted
        at, after = 0, "" if len(wanted) == 1 else wanted[0][:-1]
        while at < len(wanted):
            page = self._page(_common_start(wanted[at], wanted[-1]), after)
            for item in page.get("Contents", []):
                place = bisect_right(wanted, item["Key"]) - 1
                if place >= 0 and _is_wanted(item["Key"], wanted[place]):
                    self.found[item["Key"]] = item["ETag"].strip('"')
            if not page.get("IsTruncated"):
                return
            last, before = page["Contents"][-1]["Key"], at
            at = bisect_left(wanted, last)
            at -= at > 0 and wanted[at - 1].endswith("/") and last.startswith(wanted[at - 1])
            after = max(last, wanted[at][:-1]) if at < len(wanted) else last
            if not self._sparse and len({_group(name, self._top) for name in wanted[before:at]}) < _DENSE:
                self.left = wanted[at:]
                return


def _is_wanted(name: str, wanted: str) -> bool:
    return name.startswith(wanted) if wanted.endswith("/") else name == wanted


def _common_start(one: str, other: str) -> str:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]
