"""Mask generators of published evaluations, which draw the same random numbers in the same order as the authors' code.

Each module has one function `draw(options, height, width, random)`, which returns the hole of one image and, where the
authors cut the image around the hole, the square that they cut. None of the authors' code is used here; the tests hold
checksums of masks that it made. Legend: h and w pixels. True is a hole.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HoleArray = npt.NDArray[np.bool_]
"""hole_hw."""
Square = tuple[slice, slice]
"""Rows and columns of a square part of an image."""
