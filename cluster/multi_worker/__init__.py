"""Multi-worker trials: long-lived Ray Train runs that train one trial after another."""
