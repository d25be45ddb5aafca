"""Model `majority`."""
