"""Search spaces, samplers, and searches within a sweep."""
