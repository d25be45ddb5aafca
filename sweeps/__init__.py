"""What is asked and what was found: sweep files, plans, trials, the store. Imports neither torch nor ray."""
