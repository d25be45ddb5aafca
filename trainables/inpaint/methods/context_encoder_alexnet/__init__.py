"""Model `context_encoder_alexnet`."""
