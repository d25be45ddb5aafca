"""Named evaluations: their files, what two of them differ in, and stored scores."""
