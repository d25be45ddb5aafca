"""Verbs that say what there is, to people, editors and shells."""
