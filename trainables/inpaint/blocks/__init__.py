"""Layers and discriminators that the networks in `methods/` are built from."""
