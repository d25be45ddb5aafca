"""A text encoder and an image encoder, trained to match captions with images.

Source: Xu et al. 2018, "AttnGAN" (DAMSM), with a small jointly trained image encoder instead of Inception; MODELS.md
sections 2.1 and 10. The published loss is {sentence: 1, word: 1}.
"""
