"""Claims, their verdicts, and published results."""
