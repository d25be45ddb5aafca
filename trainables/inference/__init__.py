"""Trained networks outside a trial: predict, export, redraw."""
