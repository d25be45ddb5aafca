"""Finished trials that were not tested at the epochs which a sweep reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.results import untested_epochs
from sweeps.store import attempts
from sweeps.store import trials as stored_trials
from sweeps.store.local import FolderStore
from sweeps.store.record_cache import CachedStore

EARLY = {"epoch": [1, 2, 3, 4], "val/psnr_db": [1.0, 3.0, 2.0, 3.0], "val/l2": [4.0, 3.0, 2.0, 5.0]}
TESTS = [(None, 6.0), (5.0, 6.0)]
"""Test values after epochs 2 and 4."""
BEST = "best(val/psnr_db)"


@pytest.mark.parametrize(
    ("test_epochs", "at", "tested_at_2", "told"),
    [
        ((), "last", False, False),
        ((2,), "last", False, True),
        ((2,), "last", True, False),
        ((2, 9), "last", True, False),
        ((1, 2), "last", True, True),
        ((), BEST, False, True),
        ((), BEST, True, False),
        ((), "best(val/l2)", True, True),
        ((), "best(val/absent)", False, False),
    ],
)
def test_which_are_found(tmp_path: Path, test_epochs: Any, at: str, tested_at_2: bool, told: bool) -> None:
    """Epochs after the last are not asked for; among equally good epochs the first counts."""
    store = FolderStore(tmp_path)
    second, last = TESTS[tested_at_2]
    for trial_id, history in (
        ("trained", {**EARLY, "test/psnr_db": [None, second, None, last], "test/l2": [None, second, None, last]}),
        ("fill", {"epoch": [0], "val/psnr_db": [1.0], "test/psnr_db": [1.0]}),
    ):
        attempt = attempts.claim(store, trial_id, 0, {"claimed_at": 0.0})
        assert attempt is not None
        assert stored_trials.finish(store, attempt, int(history["epoch"][-1]), {"history": history})
    finished = [("trained", 4), ("fill", 0)]
    found = untested_epochs.of_trials(CachedStore(store, "any"), finished, test_epochs, at)
    assert found == ({("trained", 4)} if told else set())
