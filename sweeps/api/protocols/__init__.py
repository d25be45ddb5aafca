"""Named evaluations in the Python interface."""
