"""Trains and evaluates one trial. Uses torch; independent of Ray, Optuna and the store."""
