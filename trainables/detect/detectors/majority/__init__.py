"""Baseline that ignores the image: it predicts the share of inpainted images in the training set."""
