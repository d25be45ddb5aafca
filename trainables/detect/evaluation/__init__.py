"""What a detector is scored on beyond its columns: values of every test image, and metrics that a sweep asks for."""
