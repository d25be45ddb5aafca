"""Model `detector`."""
