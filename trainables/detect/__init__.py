"""Task `detect`: classify images as inpainted or not, and locate the hole."""
