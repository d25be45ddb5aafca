"""LaMa: a residual network of fast Fourier convolutions; the receptive field of every block is the whole image.

Source: Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions", and its code (the
model LaMa-Fourier); MODELS.md sections 7 and 10 for the smaller forms. 27.05 M parameters at 256 px, 6.96 M in the
discriminator.

Unusual: the published loss is {valid: 10, adversarial: 10, feature_matching: 100, r1: 0.001}, plus a perceptual term of
weight 30 on features of a ResNet-50 trained for segmentation. That network is not available here; the closest term is
`perceptual` with `features:`. Only `feature_matching` and `perceptual` compare the holes with the truth. The target of
the discriminator is the mask: it learns to label the output as generated inside the holes and as real around them. Its
input is the raw output of the network, including the known pixels. The published learning rates are 1e-3, and 1e-4 for
the discriminator.

`block: aot` replaces the Fourier blocks by AOT-GAN's blocks, and `block: plain` by blocks without a Fourier transform.
At equal width these have more parameters, 66.8 M and 45.6 M.
"""
