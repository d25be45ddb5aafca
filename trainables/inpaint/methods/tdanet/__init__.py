"""TDANet: fills holes guided by a caption, with attention to the words that the known region does not explain.

Source: Zhang et al. 2020, "Text-Guided Neural Image Inpainting", and its code; MODELS.md sections 2.1 and 10 for the
smaller forms. At 256 px the encoder with the blocks after it, the attention to words and the two distributions has
23,155,648 parameters, and the decoder 10,257,696, as in the published code. A discriminator has 1.1 M, plus 0.5 M in
the published code in a block that is never called.

Unusual: the encoder has two paths. The known region gives a prior over the content of the hole. The hole itself, which
is only available in training, gives a posterior. A latent code is drawn from each distribution, and the decoder makes
an image from each code: `rec` from the posterior and `gen` from the prior; the trained network uses the prior. For
both images the decoder also takes the features of the known region, as they leave the six blocks before the prior
(`infer`). The words for the prior are those least similar to the known region, the words for the posterior those most
similar to the hole. The published code swaps them: it trains `rec` with the words of the known region and `gen` with
the words of the hole, which are not available at test time. `compat: true` reproduces that. Scores are computed for the
image of the prior's mean; with a generator, the code is drawn from the prior.

Text: `forward` and `learn` take captions as tokens_bt from `network.tokens(["a photo of a cat"])`, in the vocabulary
that is stored with the weights. Without tokens, captions are empty. Here the text encoder and the image reader learn
from the term `matching` on real images, together with the rest of the network. In the published code both are
pre-trained (Inception, and a text encoder for captions of birds) and frozen. `text_encoder: {trial: ID}` loads both
from a trial of task `match`.

The published loss is {l1_scales: 20, kl: 20, adversarial: 1, adversarial_features: 1, matching: 0.1}, in [-1, 1]. All
terms are sums over `rec` and `gen`; l1_scales is also summed over the output sizes, and kl is multiplied by their
number, as in the published code. Both discriminators learn from `rec`. With several workers, noise and matching are
computed for the whole batch. Two bugs of the published code are fixed: it only used the first caption of
each image, and the padding mask of one caption was applied to another.

Three things are done better on purpose. The targets of l1_scales and the mask in the decoder's attention are scaled by
area means, not by bilinear interpolation, which skips pixels when it makes an image much smaller. The maximum over a
region's places is taken over these places alone; in the published code all others compete with the value 0. A place
belongs to a region if any of its pixels does; in the published code, to none if its interpolated mask is between 0 and
1.
"""
