"""LaTeX: tables with booktabs and siunitx, and text in any script."""
