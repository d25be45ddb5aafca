"""The networks, one a file, found by module name; see `trainables.schema` for how their options are read."""
