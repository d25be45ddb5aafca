"""The context encoder: an encoder to one vector, a decoder from it, and a discriminator.

Source: Pathak et al. 2016 and its Lua code; 003_4e78e639d4f1fa33; MODELS.md sections 4.1 and 10. The published form has
128 px, `predicts: centre`, bottleneck 4000 and 71.12 M parameters; `predicts: image` is the published form for random
regions. Unusual: the model works in [-1, 1], fills the holes of its input with a constant colour, does not get the
mask, and in the centre form predicts a square that may be larger than the hole. The ring of known pixels inside that
square has weight 10 in the terms `l1` and `l2`. Pathak's optional noise input and conditional discriminator are not
implemented.
"""
