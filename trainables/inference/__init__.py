"""Use of trained networks outside a trial: predict, export, redraw."""
