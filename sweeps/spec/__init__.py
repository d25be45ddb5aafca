"""Sweep files: read, checked, expanded to a plan of trials."""
