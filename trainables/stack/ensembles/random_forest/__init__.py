"""Model `random_forest`."""
