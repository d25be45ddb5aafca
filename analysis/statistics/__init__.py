"""Intervals, tests, rank agreement and factorial effects."""
