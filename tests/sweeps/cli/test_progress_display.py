"""What a terminal shows while a sweep runs: lines for a log, a live table for a terminal, nothing if quiet."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.cli import progress_display
from sweeps.cli.progress_display import ProgressDisplay


def job(label: str = "base · seed 0") -> Any:
    return SimpleNamespace(label=label, epochs=10)


def told(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fixed = Clock()
    monkeypatch.setattr(progress_display, "time", fixed)
    return fixed


def test_the_end_of_each_trial_is_a_line_with_the_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressDisplay(5, 1, "test/l2", stream=stream) as shown:
        for second, (label, state) in enumerate([("a", "done"), ("b", "failed"), ("c", "done"), ("d", "done")], 1):
            shown.started(job(label))
            clock.now = 10.0 * second
            shown.ended(job(label), state)
    assert told(stream) == [
        "done     a  (2 of 5, about 30 s left)",
        "failed   b  (3 of 5, about 20 s left)",
        "done     c  (4 of 5, about 10 s left)",
        "done     d  (5 of 5, last one)",
    ]


def test_minutes_where_it_takes_long(clock: Clock) -> None:
    stream = io.StringIO()
    shown = ProgressDisplay(3, 0, "test/l2", stream=stream)
    clock.now = 600.0
    shown.ended(job(), "done")
    assert told(stream) == ["done     base · seed 0  (1 of 3, about 20 min left)"]


def test_nothing_is_guessed_before_a_trial_has_ended() -> None:
    stream = io.StringIO()
    ProgressDisplay(3, 1, "test/l2", stream=stream).ended(job(), "crashed")
    assert told(stream) == ["crashed  base · seed 0  (1 of 3, time left unknown)"]


def test_epochs_are_told_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    shown = ProgressDisplay(2, 0, "val/psnr_db", stream=stream)
    shown.started(job())
    for epoch in range(1, 10):
        clock.now += 10.0
        shown.record(job(), {"epoch": epoch, "val/psnr_db": 20.0 + epoch})
    assert told(stream) == [
        f"1 running · base · seed 0 at epoch {epoch} · best val/psnr_db {20 + epoch} dB (base · seed 0)"
        for epoch in (4, 8)
    ]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("val/l2", [0.3, 0.1, 0.2], "best val/l2 0.1 (base · seed 0)"),
        ("val/psnr_db", [20.0, 30.0, 25.0], "best val/psnr_db 30 dB (base · seed 0)"),
        ("test/psnr_db", [], ""),
    ],
)
def test_the_best_value_so_far(clock: Clock, metric: str, values: list[float], best: str) -> None:
    stream = io.StringIO()
    shown = ProgressDisplay(2, 0, metric, stream=stream)
    for value in values:
        shown.record(job(), {"epoch": 1, metric: value})
    clock.now = 100.0
    shown.record(job(), {"epoch": 2, metric: None})
    assert told(stream)[-1].endswith(best)


def test_quiet_says_nothing(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressDisplay(2, 0, "val/l2", quiet=True, stream=stream) as shown:
        shown.started(job())
        clock.now = 100.0
        shown.record(job(), {"epoch": 1, "val/l2": 0.1})
        shown.ended(job(), "failed")
    assert stream.getvalue() == ""


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    stream = io.StringIO()
    ProgressDisplay(2, 0, "val/l2", stream=stream).ended(job("[red]arm[/red] [/nope]"), "done")
    assert "[red]arm[/red] [/nope]" in stream.getvalue()


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with ProgressDisplay(2, 0, "val/l2", stream=stream) as shown:
        for label in ("[red]one", "two"):
            shown.started(job(label))
            shown.record(job(label), {"epoch": 3, "val/l2": 0.25})
            assert shown._live is not None
            shown._live.refresh()
            shown.ended(job(label), "done")
    for words in ("[red]one", "3/10", "0.25", "best val/l2 0.25", "0 of 2, time left unknown", "1 done · 1 running"):
        assert words in stream.getvalue()
    assert "done     [red]one  (1 of 2" in stream.getvalue()


def test_pruned_trials_are_over_and_crashed_ones_are_not(clock: Clock) -> None:
    stream = io.StringIO()
    shown = ProgressDisplay(3, 0, "val/l2", stream=stream)
    clock.now = 10.0
    shown.added([job("c")])
    for label, state in (("a", "pruned"), ("b", "crashed"), ("b", "done")):
        shown.ended(job(label), state)
    assert told(stream) == [
        "pruned   a  (1 of 4, about 30 s left)",
        "crashed  b  (1 of 4, about 30 s left)",
        "done     b  (2 of 4, about 10 s left)",
    ]
