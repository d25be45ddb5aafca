"""Model `context_encoder`."""
