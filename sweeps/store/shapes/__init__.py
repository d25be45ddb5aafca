"""Shapes of the objects in a store, which are checked as they are read."""
