"""What Ray says to its driver is one line on the terminal; the whole text is in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray._private import worker as ray_worker

from cluster.connection import ray_messages, waiting

DIED = "Raylet is terminated. Termination is unexpected. " + "Possible reasons include many. " * 9
DUMP = DIED + "\n" + "    - num bytes created total: 40\n" * 100


def test_a_state_dump_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ray_worker.print_to_stdstream
    with ray_messages.shortened(tmp_path):
        ray_worker.print_to_stdstream({"lines": [DUMP], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert ray_worker.print_to_stdstream is before
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("Ray: Raylet is terminated. Termination is unexpected.")
    assert len(line) < 250 + len(str(tmp_path))
    assert line.endswith(f"(whole message: {tmp_path / ray_messages.FILE})")
    assert (tmp_path / ray_messages.FILE).read_text() == DUMP.strip() + "\n"


def test_what_a_trial_waits_for_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{waiting.BEGINNING}5 s: trial 1 uploads its checkpoint"
    with ray_messages.shortened(tmp_path):
        ray_worker.print_to_stdstream({"lines": [line], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    assert capsys.readouterr().err == f"{line}\n"
    assert not (tmp_path / ray_messages.FILE).exists()


def test_ray_prints_through_the_replaced_function() -> None:
    assert "print_to_stdstream" in ray_worker.listen_error_messages.__code__.co_names
