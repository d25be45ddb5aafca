"""Metrics of filled images."""
