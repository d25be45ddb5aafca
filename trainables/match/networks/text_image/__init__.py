"""Model `text_image`."""
