"""Trials of several workers: long-lived Ray Train runs."""
