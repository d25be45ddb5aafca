"""Reading and checking sweep files, and expanding them to plans of trials."""
