"""Inpainters, one a file, found by module name."""
