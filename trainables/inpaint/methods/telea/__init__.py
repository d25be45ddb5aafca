"""Model `telea`."""
