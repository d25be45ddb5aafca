"""Configuration code shared by all tasks. Imports no torch."""
