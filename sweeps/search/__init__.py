"""Search spaces, samplers, and hyperparameter searches of a sweep."""
