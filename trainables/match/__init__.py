"""Task `match`: match captions and images."""
