"""What the dashboard's pages read from the store, cached."""
