"""Ensembles: one package for each, which is looked up by its name."""
