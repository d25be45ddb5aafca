"""Task `command`: the user's own program, in any language, as one trial."""
