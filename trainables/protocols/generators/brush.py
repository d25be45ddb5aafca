"""Brush strokes: chains of thick segments with round ends that turn back and forth, in whole px.

Source: Yu et al. 2019; JiahuiYu/generative_inpainting at 3a53243, `brush_stroke_mask`. MAT and CoModGAN draw the same
strokes with other limits. Flips inside these functions have no effect in the authors' code, and are left out here; the
random numbers that they take are drawn.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from trainables.protocols.generators import HoleArray, Square
from trainables.protocols.mask_options import BrushMasks

_ANGLE, _SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
"""Mean angle of a segment and its largest deviation, radians."""


def draw(options: BrushMasks, height: int, width: int, random: np.random.RandomState) -> tuple[HoleArray, Square]:
    """The strokes of one image."""
    picture = Image.new("L", (width, height), 0)
    for _ in range(random.randint(options.strokes[0], options.strokes[1] + 1)):
        stroke(picture, options.vertices, options.width, random)
    return np.asarray(picture) > 0, (slice(0, height), slice(0, width))


def stroke(
    picture: Image.Image, vertices: list[int], width: tuple[float, float] | list[int], random: np.random.RandomState
) -> None:
    """Draw one stroke. vertices: lowest and highest number. width: lowest and highest, px."""
    across, down = picture.size
    mean = math.sqrt(down * down + across * across) / 8
    count = random.randint(vertices[0], vertices[1] + 1)
    lowest, highest = _ANGLE - random.uniform(0, _SPREAD), _ANGLE + random.uniform(0, _SPREAD)
    angles = [random.uniform(lowest, highest) for _ in range(count)]
    angles[::2] = [2 * math.pi - angle for angle in angles[::2]]
    points = [(int(random.randint(0, across)), int(random.randint(0, down)))]
    for angle in angles:
        length = min(max(random.normal(mean, mean // 2), 0), 2 * mean)
        x, y = points[-1]
        points.append(
            (
                int(min(max(x + length * math.cos(angle), 0), across)),
                int(min(max(y + length * math.sin(angle), 0), down)),
            )
        )
    thickness = int(random.uniform(*width))
    pen, half = ImageDraw.Draw(picture), thickness // 2
    pen.line(points, fill=1, width=thickness)
    for x, y in points:
        pen.ellipse((x - half, y - half, x + half, y + half), fill=1)
