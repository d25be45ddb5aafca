"""Group-sequential tests of paired differences: looks, spent error, verdicts, intervals."""
