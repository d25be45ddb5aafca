"""Detectors and baselines: one package for each, which is looked up by its name."""
