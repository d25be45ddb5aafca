"""Checks whether this machine, a cluster and a store are fit for a sweep."""
