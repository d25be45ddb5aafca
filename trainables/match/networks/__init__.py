"""Matching networks, one per file, looked up by module name."""
