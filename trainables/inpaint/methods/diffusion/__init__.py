"""Model `diffusion`."""
