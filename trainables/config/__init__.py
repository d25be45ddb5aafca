"""What the configurations of all tasks share. Imports no torch."""
