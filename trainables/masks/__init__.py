"""Masks: families of holes, strokes, and how drawn masks are rendered."""
