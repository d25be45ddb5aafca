"""Looks up many objects with few requests: by walking through a listing, or with one request per object.

A page of a listing has a thousand objects and covers all wanted names among them. If few of them are wanted (the trials
of one sweep in a store of thousands), a walk would read a page for every trial or two. Then each object is requested
individually (HEAD, a tenth of the price of a listing) and each folder is listed individually, in parallel.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from sweeps.parallel import parallel_map

Page = Callable[[str, str], dict[str, Any]]
"""(prefix, name) -> up to a thousand objects under the prefix that come after the name."""
Ask = Callable[[str], str | None]
"""Name -> version of the object, None if there is none."""

_THREADS = 32
_SHARE = 250
"""Minimum number of names per walk: with four objects per trial, fewer would not fill a page."""
_FEW = 8
"""Up to this many objects are requested individually; more of them may be on one page."""
_DENSE = 4
"""Minimum number of trials or sweeps that a page must cover; a page takes as long as this many HEAD requests."""


def find_versions(page: Page, ask: Ask, names: set[str], top: int) -> dict[str, str]:
    """Name -> version of every object that is one of `names`, or is below one that ends with `/`.

    top: length of the store's prefix, with which all names begin
    """
    wanted: list[str] = []
    for name in sorted(names):
        if not wanted or not (wanted[-1].endswith("/") and name.startswith(wanted[-1])):
            wanted.append(name)
    if len(wanted) <= _FEW and not any(name.endswith("/") for name in wanted):
        return _head_each(page, ask, wanted)
    share = max(_SHARE, -(-len(wanted) // _THREADS))
    walks = [_Walk(page, wanted[start : start + share], top) for start in range(0, len(wanted), share)]
    parallel_map(_Walk.go, walks, _THREADS)
    versions = {name: version for walk in walks for name, version in walk.versions.items()}
    groups: dict[str, list[str]] = {}
    for name in [name for walk in walks for name in walk.left]:
        groups.setdefault(_group(name, top), []).append(name)
    whole = [group for group, few in groups.items() if not any(name.endswith("/") for name in few)]
    versions |= _head_each(page, ask, [name for group in whole for name in groups.pop(group)])
    walks = [_Walk(page, few, top, sparse=True) for few in groups.values()]
    parallel_map(_Walk.go, walks, _THREADS)
    return versions | {name: version for walk in walks for name, version in walk.versions.items()}


def _head_each(page: Page, ask: Ask, names: list[str]) -> dict[str, str]:
    versions = parallel_map(ask, names, _THREADS)
    existing = {name: version for name, version in zip(names, versions, strict=True) if version is not None}
    if names and not existing:
        page(names[0], "")  # HEAD cannot tell a missing bucket from a missing object, but a listing can
    return existing


def _group(name: str, top: int) -> str:
    """The folder of a trial or sweep."""
    return "/".join(name[top:].split("/", 2)[:2])


class _Walk:
    """Walks through listings from one wanted name to the next. The names are sorted, and none is below another."""

    def __init__(self, page: Page, wanted: list[str], top: int, sparse: bool = False) -> None:
        """sparse: whether to continue even if pages cover few wanted names."""
        self._page, self._wanted, self._top, self._sparse = page, wanted, top, sparse
        self.versions: dict[str, str] = {}
        """Name -> version."""
        self.left: list[str] = []
        """Names not looked up because the pages cover too few of them."""

    def go(self) -> None:
        wanted = self._wanted
        at, after = 0, "" if len(wanted) == 1 else wanted[0][:-1]
        while at < len(wanted):
            page = self._page(_common_start(wanted[at], wanted[-1]), after)
            for item in page.get("Contents", []):
                place = bisect_right(wanted, item["Key"]) - 1
                if place >= 0 and _is_wanted(item["Key"], wanted[place]):
                    self.versions[item["Key"]] = item["ETag"].strip('"')
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
