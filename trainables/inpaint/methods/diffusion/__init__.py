"""A small diffusion inpainter: rectified flow, conditioned on the damaged image and the mask.

Sources: Liu et al. 2022, "Flow Straight and Fast", and Lipman et al. 2022, "Flow Matching for Generative Modeling", for
the objective and the sampler; Saharia et al. 2022, "Palette: Image-to-Image Diffusion Models", for inpainting, where
noise and loss are limited to the hole; Ho et al. 2020 and Dhariwal and Nichol 2021 for the U-Net. 2.96 M parameters at
32 px and 4.75 M at 64 px.

Schedule: at time t the hole holds (1 - t) noise + t image, in [-1, 1], from pure noise at 0 to the image at 1. The
network predicts the velocity, image - noise. The times of a batch are evenly spaced with a common random offset, so
each of them is uniform in [0, 1) (Kingma et al. 2021, "Variational Diffusion Models", appendix I.1). The sampler takes
`steps` Euler steps of equal size, so an evaluation calls the network `steps` times for each image.

The usual loss is {velocity: 1.0}: the mean squared error of the velocity over the hole. The reconstruction losses
compare the estimate of the image from one step, noisy + (1 - t) velocity, with the known pixels copied from the image;
`l2_hole` is then `velocity` weighted by (1 - t)^2 / 4.

Unusual: an exponential average of the weights fills holes, and checkpoints hold it with the weights that learn. Its
decay after n steps is min(ema, (1 + n) / (10 + n)). With a generator, a fill is a sample. Without one, the sampler
begins at zero, the mean of the noise: the fill is deterministic, smoother than a sample, and closer to the image (by
3.4 dB over the holes of 16 overfitted images). The last convolution of every block and of the network begins near zero
instead of at zero, so that all weights depend on the seed.
"""
