"""The sections of a report as data, one a file."""
