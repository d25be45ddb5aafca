"""Tests, one folder a package of the project."""
