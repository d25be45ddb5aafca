"""Model `deepfill`."""
