"""Matching networks, one a file, found by module name."""
