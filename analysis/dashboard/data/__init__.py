"""Cached reading of the store for the dashboard's pages."""
