"""The store: its contract, its backends, and the layout of its keys."""
