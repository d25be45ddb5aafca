"""Heads and high-pass filters that several detectors use."""
