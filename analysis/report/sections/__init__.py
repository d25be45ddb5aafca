"""The sections of a report as data, one file each."""
