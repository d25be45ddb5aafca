"""Sweeps as jobs of a Ray cluster: upload, start, follow the log."""
