"""Code of users: which files it consists of, their hash, and how it is imported from a file or from a store."""
