"""A change of the test images of a detector: grey levels, and a strip of noise at a random height."""

import torch


def fax(image, generator, *, levels: int = 16, strip: float = 0.1):
    """One image (3, height, width) in [0, 1]; returns one of the same shape. The generator belongs to the image."""
    grey = image.mean(0, keepdim=True).mul(levels - 1).round().div(levels - 1)
    height = round(strip * image.shape[1])
    top = int(torch.randint(0, image.shape[1] - height + 1, (), generator=generator))
    grey[:, top : top + height] = torch.rand(1, height, image.shape[2], generator=generator)
    return grey.expand_as(image)
