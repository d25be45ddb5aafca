"""Mean of the detectors' logits, without fitting: the baseline of stacking."""
