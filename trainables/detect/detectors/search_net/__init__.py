"""Model `search_net`."""
