"""Tells what a table of methods and seeds (or images) from anywhere can decide: `sweeps audit FILE.csv`."""
