"""DeepFill v2: a coarse and a fine network of gated convolutions, with contextual attention and SN-PatchGAN.

Source: Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution", and its code; MODELS.md sections 1.5 and 10
for the smaller forms. 4.05 M parameters at 256 px, 5.95 M in the discriminator.

Unusual: `width` is the number of output channels of the first gated layer, 24; the 48 of the published code counts
features and gates. The coarse network fills the hole roughly, and its output is pasted into the hole. The fine network
sees this image but not the mask, and one of its two branches copies from outside the hole
(`contextual_attention.py`). The published loss is {l1: 1.0, l1_coarse: 1.0, adversarial: 1.0}: the errors of
both outputs over the whole image in [-1, 1], and the hinge loss of a discriminator that sees the composite. mmagic's
reproduction uses an adversarial weight of 0.1, and a user of the published code reports that this fixes grey coarse
outputs. Stride-2 convolutions pad all sides equally here, while TensorFlow pads more on the right and at the bottom;
this would only matter for loading the published weights.
"""
