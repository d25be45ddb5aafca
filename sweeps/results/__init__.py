"""What is read from the store while a sweep runs and after: columns, progress, cost."""
