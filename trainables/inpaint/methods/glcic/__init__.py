"""Model `glcic`."""
