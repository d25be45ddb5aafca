"""Task `detect`: tell inpainted images from others, and locate the hole."""
