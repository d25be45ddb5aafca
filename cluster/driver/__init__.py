"""The driver: runs a plan, hands out its trials, stops them early."""
