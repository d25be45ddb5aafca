"""Detectors and baselines, one a file, found by module name."""
