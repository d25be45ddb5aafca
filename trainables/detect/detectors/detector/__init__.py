"""Detector on any of torchvision's classifiers, whose last layer is replaced by a label, label and box, or mask head.

Sources: 000_0d9f1f22a9376145 (one sigmoid and four linear outputs, or segmentation), 001_cc5423a036889870 (label only).
The last linear layer or convolution of the classifier is located in the network and removed; all earlier layers stay.
The network normalises images with ImageNet's mean and standard deviation.
"""
