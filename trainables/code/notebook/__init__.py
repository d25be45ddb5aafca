"""Code that a notebook cell or the running script defines, and objects given in the place of names."""
