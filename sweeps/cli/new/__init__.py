"""The verb `new`: files to start from."""
