"""Errors that a worker sees when another one is lost, which are not the trial's fault."""

from __future__ import annotations

import pytest
import torch
from torch import distributed

from cluster.worker.worker import is_lost_worker


def test_a_process_group_that_was_taken_down() -> None:
    """torch's own error when a surviving worker continues after its process group was destroyed."""
    with pytest.raises(ValueError, match="process group") as error:
        distributed.all_reduce(torch.zeros(1))
    assert is_lost_worker(error.value)


def test_a_peer_that_closed_its_connection() -> None:
    assert is_lost_worker(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1234"))


def test_a_fault_of_the_trial() -> None:
    assert not is_lost_worker(ValueError("batch has 3 channels, 1 was expected"))
