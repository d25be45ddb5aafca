"""Inpainting methods: one module for each, which is looked up by its name."""
