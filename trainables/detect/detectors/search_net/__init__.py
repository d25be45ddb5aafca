"""Small convolutional networks for an architecture search; 001_cc5423a036889870 asks for one and gives no details.

`stages` of `depth` convolutions each, with batch normalisation and ReLU; each stage but the first begins with stride 2
and doubles the channels. Global average pooling and a head as in `detector` follow.
"""
