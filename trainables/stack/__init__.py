"""Task `stack`: an ensemble of trained detectors."""
