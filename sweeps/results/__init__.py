"""Columns of records, and the progress and cost of a sweep, read from the store."""
