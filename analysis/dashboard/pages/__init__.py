"""What the dashboard's pages show, one module a page."""
