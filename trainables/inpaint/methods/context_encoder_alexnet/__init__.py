"""The context encoder on AlexNet's convolutions: a channel-wise layer instead of a bottleneck, five up-convolutions.

Source: Pathak et al. 2016 (the feature-learning model) and 003_4e78e639d4f1fa33; MODELS.md sections 4.2 and 10. The
published form maps 227 px to a 6x6x256 map and back to 161 px, which are resized; it has 3.92 M parameters with
AlexNet's two groups. The network is trained from scratch. Our choices where the sources say nothing: no local response
normalisation; He initialisation, because there is no batch normalisation; and tanh instead of ReLU after the last
layer, because outputs are in [-1, 1].
"""
