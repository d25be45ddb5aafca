"""Fills holes from their border inwards, one ring per pass: each pixel of the ring is the mean of its known neighbours.

Source: MODELS.md section 11. A neighbour that shares an edge has weight 2, one that shares a corner weight 1. Replaces
Telea's fill on any device, and works on whole batches. An image that is all hole becomes grey (0.5).
"""
