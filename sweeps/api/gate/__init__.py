"""Candidate changes one after the other, each tried against the incumbent on seeds that it did not choose."""

from sweeps.api.gate.gate import gate_init, gate_status, gate_try

__all__ = ["gate_init", "gate_status", "gate_try"]
