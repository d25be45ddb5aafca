"""Masks: mask families, brush strokes and the rendering of masks."""
