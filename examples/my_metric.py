"""A metric: the error of the differences between neighbouring pixels in the holes, one value for each image."""

better = "min"


def edge_error(prediction, target, mask, power: float = 1.0):
    """The parameters choose what the metric gets, in [0, 1]. One with a default is an option of the sweep file."""
    error = (prediction - target) * mask
    across = error.diff(dim=3).abs().pow(power).sum((1, 2, 3))
    down = error.diff(dim=2).abs().pow(power).sum((1, 2, 3))
    return (across + down) / (6 * mask.sum((1, 2, 3))).clamp(min=1)
