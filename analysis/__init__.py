"""Statistics, claims, reports and the dashboard. Reads the store only; imports neither torch nor ray."""
