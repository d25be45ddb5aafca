"""The training loop and what it needs, the same for every task."""
