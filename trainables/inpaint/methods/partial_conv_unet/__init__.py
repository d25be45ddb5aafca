"""A U-Net of partial convolutions, small enough for CIFAR.

Source: 004_93544f900a7fa97e; MODELS.md section 5, after Liu et al. 2018. Unusual: the masks are passed through the
network and concatenated at the skip connections like the features. The last layer has neither batch normalisation nor
an activation, because the document specifies none. 3.92 M parameters at 32 px. With `convolution: plain` it is the same
network with plain convolutions, to measure what partial convolution adds; that form is ours.
"""
