"""Child processes that the dashboard starts."""
