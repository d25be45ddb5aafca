"""Fills each hole with the mean of the known pixels of the image, per channel: the simplest baseline.

Source: MODELS.md section 11. An image that is all hole becomes grey (0.5).
"""
