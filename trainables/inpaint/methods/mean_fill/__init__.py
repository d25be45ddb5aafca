"""Model `mean_fill`."""
