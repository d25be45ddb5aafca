"""Claims, published figures, and what became of both."""
