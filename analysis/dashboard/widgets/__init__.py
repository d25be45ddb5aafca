"""Parts of the dashboard's pages."""
