"""The runners: in this process, or through Ray Tune."""
