"""The driver: runs a plan, hands out its trials and stops some of them early."""
