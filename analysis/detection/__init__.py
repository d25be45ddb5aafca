"""What the scores of single test images say about detectors: intervals over photographs, ROC curves, robustness."""
