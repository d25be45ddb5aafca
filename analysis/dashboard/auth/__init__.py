"""Access to the dashboard: token or login."""
