"""Model `tdanet`."""
