"""A small residual network that corrects a fill without training, at full resolution.

First a classical fill (by default `onion_peel`), then 3x3 convolutions that see the filled image and the mask and
predict what the fill got wrong. The last layer is zero at the start, so training begins at the quality of the fill.
Ours, not published; refining a coarse fill is the second stage of Yu et al. 2018, "Generative Image Inpainting with
Contextual Attention", and a residual whose last layer starts at zero is Zhang et al. 2019, "Fixup Initialization".
Unusual: nothing is downsampled, so a pixel sees `depth` pixels around it: meant for thin holes. 22 k parameters.
"""
