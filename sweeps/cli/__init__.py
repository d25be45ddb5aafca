"""The `sweeps` command: one module for each group of verbs. They import our other packages inside functions only."""

from sweeps.cli.main import main

__all__ = ["main"]
