"""Model `partial_conv_unet`."""
