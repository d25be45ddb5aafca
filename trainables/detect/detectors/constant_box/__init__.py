"""Baseline that predicts "inpainted" and the same box for every image: the box that fits the training boxes best.

It is the reference for a detector's mean IoU: 0.155 for uniform boxes with sides of 10 to 50 % of the image's, 0.337
for 10 to 90 % (MODELS.md section 1.4).
"""
