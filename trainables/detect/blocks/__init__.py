"""Heads, filters and pretrained weights of the detectors."""
