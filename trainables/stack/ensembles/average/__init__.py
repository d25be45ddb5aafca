"""Model `average`."""
