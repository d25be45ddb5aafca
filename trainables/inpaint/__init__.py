"""Task `inpaint`: fill the holes of images."""
