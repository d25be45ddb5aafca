"""Model `constant_box`."""
