"""The `sweeps` command: one module a group of verbs. They import the other folders inside functions only."""

from sweeps.cli.main import main

__all__ = ["main"]
