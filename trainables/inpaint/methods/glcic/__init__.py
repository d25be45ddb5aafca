"""Globally and locally consistent image completion, with residual blocks and a PatchGAN as options.

Sources: Iizuka et al. 2017 (GLCIC), whose network and discriminators are the defaults at 256 px; Demir & Unal 2018 and
002_e338281c6a46a1c1 for residual blocks, resize convolutions and the PatchGAN; MODELS.md sections 3 and 10 for the
smaller forms. 6.07 M parameters at 256 px, 45.1 M in the published discriminator.

Unusual: only two stride-2 layers, followed by dilated layers with a large receptive field instead of a bottleneck. The
input is the mask and the image with its holes filled with the mean of the data. The known pixels are returned unchanged
(`composite`), so the discriminators see the completed image. Published code differs here: mmagic gives them the
completed image, otenim's GLCIC the raw output of the network. The reconstruction loss is over the holes: `l2_hole` or
`l1_hole`.

The discriminators are in `discriminators.py`: `adversarial_global` sees the image, `adversarial_local`
sees a window around the hole, and `adversarial_joint` is the published form, one logit from both.
"""
