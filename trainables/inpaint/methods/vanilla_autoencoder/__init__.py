"""A plain convolutional autoencoder for blind inpainting: the mask is not an input.

Source: 004_93544f900a7fa97e; MODELS.md section 5. Unusual: no skip connections and a 1x1 bottleneck; the network cannot
distinguish holes from black pixels because it only sees the damaged image. `see_mask` is our control condition: the
same network with the mask as a fourth input channel. 2.27 M parameters at 32 px.
"""
