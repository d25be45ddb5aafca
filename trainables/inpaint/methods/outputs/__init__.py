"""Reads images that another program has filled from a folder, so that they can be scored as an arm of a sweep.

`sweeps export-test` writes the damaged test images and masks of a study under names that are a hash of their content.
Each filled image has to be stored in `path` under the name of its damaged image. The order of the images is therefore
irrelevant, and a folder made for other images or masks is detected at once.
"""
