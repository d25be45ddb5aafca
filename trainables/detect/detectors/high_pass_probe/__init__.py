"""Baseline: a logistic regression on statistics of an image's high-pass residuals.

A detector that is not better than it detects only the change of noise that any fill causes. MODELS.md sections 2.2, 7.
"""
