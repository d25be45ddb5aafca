"""The dashboard: watch, inspect and resume the sweeps of a store in a browser. Imports no torch and no ray."""
