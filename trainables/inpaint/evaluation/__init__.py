"""Metrics of inpainted images."""
