"""Detectors and baselines, one per file, looked up by module name."""
