"""Looking up objects in listings: the result and the number of requests."""

from __future__ import annotations

import random
from bisect import bisect_right
from typing import Any

import pytest

from sweeps.store.s3 import lookup as s3_lookup

TOP = "store/"


class Listing:
    """A server that lists names in order, twenty per page."""

    PAGE = 20

    def __init__(self, names: set[str]) -> None:
        self.names = sorted(names)
        self.pages, self.questions = 0, 0

    def page(self, prefix: str, after: str) -> dict[str, Any]:
        self.pages += 1
        rest = [name for name in self.names[bisect_right(self.names, after) :] if name.startswith(prefix)]
        shown = [{"Key": name, "ETag": f'"{hash(name)}"'} for name in rest[: self.PAGE]]
        return {"Contents": shown, "IsTruncated": len(rest) > self.PAGE}

    def ask(self, name: str) -> str | None:
        self.questions += 1
        return str(hash(name)) if name in self.names else None

    def seek(self, wanted: set[str]) -> set[str]:
        found = s3_lookup.find_versions(self.page, self.ask, wanted, len(TOP))
        assert found == {name: str(hash(name)) for name in found}
        return set(found)


def of_trials(trials: range, objects: int) -> set[str]:
    parts = ["attempts/0001.json", "result/200.json", *(f"samples/{i:02}.png" for i in range(objects - 2))]
    return {f"{TOP}trials/{trial:04x}/{part}" for trial in trials for part in parts}


@pytest.mark.parametrize("few", [0, 128])
@pytest.mark.parametrize("seed", range(8))
def test_it_finds_what_is_there(monkeypatch: pytest.MonkeyPatch, seed: int, few: int) -> None:
    monkeypatch.setattr(s3_lookup, "_FEW", few)
    draw = random.Random(seed)
    listing = Listing(of_trials(range(60), draw.choice([2, 5, 30])) | {f"{TOP}trials/0001/result/200.json.more"})
    wanted = {f"{TOP}trials/{n:04x}/result/200.json" for n in draw.sample(range(70), 20)}
    wanted |= {f"{TOP}trials/{n:04x}/{draw.choice(['attempts/', 'samples/', ''])}" for n in draw.sample(range(70), 10)}
    there = {n for n in listing.names if any(n.startswith(w) if w.endswith("/") else n == w for w in wanted)}
    assert listing.seek(wanted) == there
    assert listing.seek({name for name in wanted if not name.endswith("/")}) <= there


def test_many_that_lie_close_share_pages() -> None:
    listing = Listing(of_trials(range(400), 4))
    listing.seek({f"{TOP}trials/{n:04x}/result/200.json" for n in range(400)})
    assert listing.pages <= 400 * 4 / Listing.PAGE + 2
    assert not listing.questions


def test_few_among_many_are_not_sought_page_by_page() -> None:
    """One sweep of thirty trials, scattered over a store of 600."""
    trials = range(0, 600, 20)
    listing = Listing(of_trials(range(600), 4))
    assert len(listing.seek({f"{TOP}trials/{n:04x}/result/200.json" for n in trials})) == 30
    assert listing.pages == 1
    assert listing.questions <= 30
    wanted = {f"{TOP}trials/{n:04x}/{part}/" for n in trials for part in ("attempts", "result")}
    assert len(listing.seek(wanted)) == 60
    assert listing.pages <= 1 + 30
