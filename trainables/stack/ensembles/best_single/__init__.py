"""Model `best_single`."""
