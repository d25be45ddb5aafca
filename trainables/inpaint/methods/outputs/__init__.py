"""Model `outputs`."""
