"""The store: its contract, its backends, and which object lies under which key."""
