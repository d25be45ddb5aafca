"""Images and masks, held on the device for a whole trial."""
