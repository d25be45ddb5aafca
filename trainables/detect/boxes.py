"""IoU of boxes with its generalised, distance and complete variants, and conversion between boxes and masks.

Boxes are x1 y1 x2 y2, half-open. Boxes in half precision are converted to float32 first; float64 boxes stay float64.
Swapped corners are put in order first. A box without area has IoU 0 with every box, and no value or gradient is NaN.

The variants of torchvision.ops are not used because they round differently (by up to 3e-5 on boxes in [0, 1], which
would change the golden records), and because their complete IoU of boxes without area is NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-7


class Overlap(NamedTuple):
    """Intersection, union and smallest enclosing box of n pairs of boxes."""

    intersection_n: Tensor
    """Area of the intersection."""
    union_n: Tensor
    """Area of the union."""
    hull_n2: Tensor
    """Width and height of the smallest box that encloses both."""
    hull_n: Tensor
    """Area of the smallest box that encloses both."""

    @property
    def iou_n(self) -> Tensor:
        """Intersection over union, in [0, 1]."""
        return self.intersection_n / self.union_n.clamp(min=EPSILON)


def at_least_float32(box_n4: Tensor) -> Tensor:
    """The same boxes in float32; float64 boxes stay float64."""
    return box_n4 if box_n4.dtype == torch.float64 else box_n4.float()


def ordered(box_n4: Tensor) -> Tensor:
    """The same boxes, at least in float32, with x1 <= x2 and y1 <= y2."""
    box_n4 = at_least_float32(box_n4)
    first, second = box_n4[:, :2], box_n4[:, 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], 1)


def area(box_n4: Tensor) -> Tensor:
    """Areas (n,) of ordered boxes."""
    return (box_n4[:, 2] - box_n4[:, 0]) * (box_n4[:, 3] - box_n4[:, 1])


def overlap(a_n4: Tensor, b_n4: Tensor) -> Overlap:
    """Overlap of pairs of boxes. Both are in the same unit; their corners may be in any order."""
    a_n4, b_n4 = ordered(a_n4), ordered(b_n4)
    low, high = torch.maximum(a_n4[:, :2], b_n4[:, :2]), torch.minimum(a_n4[:, 2:], b_n4[:, 2:])
    intersection_n = (high - low).clamp(min=0).prod(1)
    union_n = area(a_n4) + area(b_n4) - intersection_n
    hull_n2 = torch.maximum(a_n4[:, 2:], b_n4[:, 2:]) - torch.minimum(a_n4[:, :2], b_n4[:, :2])
    return Overlap(intersection_n, union_n, hull_n2, hull_n2.prod(1))


def iou(a_n4: Tensor, b_n4: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes, (n,)."""
    return overlap(a_n4, b_n4).iou_n


def giou(a_n4: Tensor, b_n4: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019), (n,) in [-1, 1]: the IoU minus the share of the enclosing box
    that the union leaves empty.

    Where one box contains the other, it equals the IoU. Contrary to a common claim, its gradient is therefore not
    non-zero everywhere.
    """
    both = overlap(a_n4, b_n4)
    return both.iou_n - (both.hull_n - both.union_n) / both.hull_n.clamp(min=EPSILON)


def diou(a_n4: Tensor, b_n4: Tensor) -> Tensor:
    """Distance IoU (Zheng et al. 2020), (n,): the IoU minus the squared distance of the centres over the squared
    diagonal of the enclosing box.
    """
    a_n4, b_n4 = at_least_float32(a_n4), at_least_float32(b_n4)
    both = overlap(a_n4, b_n4)
    centres_n2 = (a_n4[:, :2] + a_n4[:, 2:] - b_n4[:, :2] - b_n4[:, 2:]) / 2
    return both.iou_n - centres_n2.square().sum(1) / both.hull_n2.square().sum(1).clamp(min=EPSILON)


def ciou(a_n4: Tensor, b_n4: Tensor) -> Tensor:
    """Complete IoU (Zheng et al. 2020), (n,): the distance IoU minus a term for the aspect ratio.

    The weight of that term is a constant in the gradient, as in the authors' code.
    """
    angle_a_n, angle_b_n = (_angle(ordered(box_n4)) for box_n4 in (a_n4, b_n4))
    ratio_n = (4 / math.pi**2) * (angle_a_n - angle_b_n).square()
    with torch.no_grad():
        weight_n = ratio_n / (1 - iou(a_n4, b_n4) + ratio_n + EPSILON)
    return diou(a_n4, b_n4) - weight_n * ratio_n


def _angle(box_n4: Tensor) -> Tensor:
    width_n, height_n = box_n4[:, 2] - box_n4[:, 0], box_n4[:, 3] - box_n4[:, 1]
    return torch.atan(width_n / height_n.clamp(min=EPSILON))


def masks_to_boxes(mask_n1hw: Tensor) -> Tensor:
    """Bounding boxes (n, 4) of the pixels that are set, as fractions of the sides; zeros for an empty mask."""
    (y1, y2), (x1, x2) = _ends(mask_n1hw[:, 0].any(2)), _ends(mask_n1hw[:, 0].any(1))
    return torch.stack([x1, y1, x2, y2], 1)


def _ends(line_ns: Tensor) -> tuple[Tensor, Tensor]:
    size = line_ns.shape[1]
    first_n = line_ns.int().argmax(1)
    last_n = size - line_ns.flip(1).int().argmax(1)
    any_n = line_ns.any(1)
    return tuple((end_n * any_n).float() / size for end_n in (first_n, last_n))  # type: ignore[return-value]


def boxes_to_masks(box_n4: Tensor, size: int) -> Tensor:
    """Boolean masks (n, 1, size, size) of the pixels whose centres lie inside boxes given as fractions of the sides."""
    box_n4 = ordered(box_n4)
    centre_s = (torch.arange(size, device=box_n4.device, dtype=box_n4.dtype) + 0.5) / size
    x1, y1, x2, y2 = (column_n[:, None] for column_n in box_n4.unbind(1))
    in_x_ns, in_y_ns = (centre_s >= x1) & (centre_s < x2), (centre_s >= y1) & (centre_s < y2)
    return (in_y_ns[:, :, None] & in_x_ns[:, None, :]).unsqueeze(1)
