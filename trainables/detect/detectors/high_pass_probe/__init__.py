"""Model `high_pass_probe`."""
