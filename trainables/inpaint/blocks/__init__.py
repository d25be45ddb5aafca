"""Layers and discriminators shared by the networks in `methods/`."""
