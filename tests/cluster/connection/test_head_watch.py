"""The head of a joined cluster is watched: its loss ends the run with an error that says what to do."""

from __future__ import annotations

import socket
import threading

import pytest

from cluster.connection import ending, head_watch
from sweeps.errors import SweepError


def listening() -> socket.socket:
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(64)
    return found


def test_a_head_that_is_gone_ends_the_run_and_one_that_returns_does_not() -> None:
    server, over, errors = listening(), threading.Event(), list[SweepError]()
    port = server.getsockname()[1]
    ended = threading.Event()

    def end(error: SweepError) -> None:
        errors.append(error)
        ended.set()

    thread = threading.Thread(target=head_watch.watch, args=(f"127.0.0.1:{port}", 0.4, over, end))
    thread.start()
    assert not ended.wait(0.5)
    server.close()
    assert ended.wait(20)
    thread.join(5)
    [error] = errors
    assert error.given == f"--address 127.0.0.1:{port}"
    assert "the same command goes on" in error.fix
    with listening() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=head_watch.watch, args=(address, 0.2, over, end))
        thread.start()
        over.set()
        thread.join(5)
    assert len(errors) == 1, "a run that is over is not ended by the end of its cluster"


def test_the_end_of_a_run_is_an_error_in_four_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    ending.end_process(SweepError("--address head:6379", "it is gone", "a cluster", "start it again"))
    assert codes == [1]
    said = capsys.readouterr().err
    assert said.startswith("error: --address head:6379")
    assert "start it again" in said
