"""How a trial learns, one task a file, found by its module name."""
