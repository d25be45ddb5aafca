"""Model `onion_peel`."""
