"""Runs one trial in a process: its session on the store, its inputs, its log."""
