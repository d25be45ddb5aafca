"""Layers and discriminators that several networks in `methods/` use."""
