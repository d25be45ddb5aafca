"""Verbs about named evaluations and the fills of any program."""
