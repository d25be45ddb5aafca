"""Model `vanilla_autoencoder`."""
