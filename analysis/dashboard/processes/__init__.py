"""The dashboard's child processes, and optuna-dashboard's server."""
