"""Sweep files, plans, trials, searches, and the store with its results. Imports neither torch nor ray."""
