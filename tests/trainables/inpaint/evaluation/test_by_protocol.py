"""A trial that is stopped or killed while a protocol rates it: the next attempt rates again and does not train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainables import schema
from trainables.inpaint import task as inpaint
from trainables.training.loop import fit
from trainables.training.session import Goal, Machine, MemorySession, Restored, Stopped

CONTENT: dict[str, Any] = {
    **{"about": "a test", "paper": "none", "equality": "own", "evidence": "none"},
    "images": {"size": 32, "fit": "shorter_side", "crop": "centre", "filter": "bicubic"},
    "masks": {"name": "brush", "seed": 0, "strokes": [1, 2], "vertices": [4, 5], "width": [3, 5]},
    "metrics": {"psnr_db": 1, "l1_seam": 1},
}


@dataclass
class Interrupted(MemorySession):
    """A session that asks to stop, or is killed, when `rated` images have been filled after the last epoch."""

    rated: int | None = None
    killed: bool = False
    asked: int = 0

    def should_stop(self) -> bool:
        if self.rated is None or self.goal.epochs not in self.saved:
            return False
        self.asked += 1
        if self.asked > self.rated and self.killed:
            raise KeyboardInterrupt
        return self.asked > self.rated


@pytest.fixture
def trained(data_root: Path) -> Callable[..., Interrupted]:
    def run(restored: Restored | None = None, epochs: int = 2, **changes: Any) -> Interrupted:
        config = {
            "data": {"name": "cifar10", "train": 16, "val": 8, "test": 12},
            "mask": {"name": "lines"},
            "model": {"name": "vanilla_autoencoder", "width": 1},
            "batch": 8,
            "epochs": 2,
            "protocol": {"name": "own", "content": CONTENT},
        }
        session = Interrupted(Goal(epochs), Machine(data_root=data_root), restored, **changes)
        resolved = {**schema.resolve("inpaint", config), "seed": 0}
        if session.rated is None:
            fit(inpaint, resolved, session)
            return session
        with pytest.raises(KeyboardInterrupt if session.killed else Stopped):
            fit(inpaint, resolved, session)
        assert session.result is None
        return session

    return run


@pytest.mark.parametrize(("rated", "killed"), [(0, False), (5, False), (15, False), (5, True)])
def test_the_next_attempt_repeats_only_the_rating(
    rated: int, killed: bool, trained: Callable[..., Interrupted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 images: a stop before the first one, between two, and when all are filled and some are rated."""
    straight = trained()
    assert straight.result is not None
    assert straight.result["protocol"]["images"] == 12
    stopped = trained(rated=rated, killed=killed)
    assert stopped.asked == rated + 1, "it ends at once"
    assert [row["epoch"] for row in stopped.rows] == [1], "the last epoch is not reported yet"
    assert "history.json" in stopped.saved[2]

    monkeypatch.delattr(inpaint, "train")
    monkeypatch.delattr(inpaint, "evaluate")
    resumed = trained(Restored(2, stopped.saved[2]))
    assert resumed.result is not None
    [row], expected = resumed.rows, straight.rows[-1]
    assert "test/l1_seam_on_protocol" in row
    assert {name: row[name] for name in row if not name.startswith("sys/")} == {
        name: expected[name] for name in expected if not name.startswith("sys/")
    }
    assert resumed.result["protocol"] == straight.result["protocol"]
    assert resumed.images[2] == straight.images[2], "with the values of single images, which are not evaluated again"


def test_a_stopped_trial_can_be_trained_further(trained: Callable[..., Interrupted]) -> None:
    """The final files of its last epoch are those of the new last epoch."""
    stopped = trained(rated=5)
    further, straight = trained(Restored(2, stopped.saved[2]), epochs=3), trained(epochs=3)
    assert further.images[3] == straight.images[3]
    assert further.images[3]["per_image.npz"] != trained().images[2]["per_image.npz"]
