"""Model `svc`."""
