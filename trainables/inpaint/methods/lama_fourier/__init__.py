"""Model `lama_fourier`."""
