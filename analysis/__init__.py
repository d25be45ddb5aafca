"""What the results mean: reads the store only, imports neither torch nor ray."""
