"""A hole drawn on an image with a mouse, pen or finger: the drawing board in the browser, and the mask of its strokes.

The browser sends strokes as points in pixels of the image. This module checks them and draws the mask.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image, ImageDraw

from analysis.report.page import data_uri
from sweeps.errors import SweepError

MOST_STROKES = 200
MOST_POINTS = 8_000
"""Maximum number of points of all strokes together."""
SHOWN_PX = 480
"""Length of the longer side of the image, if the page is wide enough."""
_SENT_PX = 2 * SHOWN_PX
_FOLDER = Path(__file__).parent.parent / "browser"
_HTML, _CSS, _JS = ((_FOLDER / f"drawing.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))


def drawing_board(image: Image.Image, key: str) -> Image.Image | None:
    """Show a drawing board. Returns the mask of the drawing; None if it is empty. key: differs for every image."""
    board = st.components.v2.component("sweeps_drawing", html=_HTML, css=_CSS, js=_JS)
    kept = st.session_state.get(f"{key}-strokes", [])  # drawn before the board was last hidden
    data = {
        "image": _uri(image),
        "width": image.width,
        "height": image.height,
        "shown": SHOWN_PX,
        "widest": max_brush_px(image.size),
        "most_strokes": MOST_STROKES,
        "most_points": MOST_POINTS,
        "strokes": kept,
    }
    state = board(key=key, data=data, default={"strokes": kept}, on_strokes_change=_nothing)
    strokes = parse_strokes(state.get("strokes"), image.size)
    st.session_state[f"{key}-strokes"] = strokes
    return strokes_to_mask(strokes, image.size) if strokes else None


def _nothing() -> None:
    """A callback that Streamlit requires to keep the state."""


def parse_strokes(given: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Check strokes from a browser: {brush: px, points: [[x, y], ...] in px}. Raises SweepError if they are invalid.

    size: width and height of the image; every point must be inside it.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > MOST_STROKES:
        raise _strokes_error(f"it is not a list of at most {MOST_STROKES} strokes")
    strokes = [_stroke(one, size) for one in given]
    if sum(len(stroke["points"]) for stroke in strokes) > MOST_POINTS:
        raise _strokes_error(f"it has more than {MOST_POINTS:,} points")
    return strokes


def _stroke(given: Any, size: tuple[int, int]) -> dict[str, Any]:
    points = given.get("points") if isinstance(given, Mapping) else None
    if not isinstance(points, Sequence) or isinstance(points, str) or not 1 <= len(points) <= MOST_POINTS:
        raise _strokes_error("a stroke has no list of points")
    brush = _number(given.get("brush"), max_brush_px(size))
    if brush < 1:
        raise _strokes_error("a brush is thinner than 1 px")
    if not all(isinstance(one, Sequence) and not isinstance(one, str) and len(one) == 2 for one in points):
        raise _strokes_error("a point is not a pair of numbers")
    return {
        "brush": brush,
        "points": [[_number(value, side) for value, side in zip(one, size, strict=True)] for one in points],
    }


def max_brush_px(size: tuple[int, int]) -> int:
    """Width of the widest brush, in px."""
    return max(2, round(max(size) / 4))


def _number(value: Any, most: int) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not (math.isfinite(value) and 0 <= value <= most)
    ):
        raise _strokes_error("a point is outside the image, or a brush is too wide")
    return float(value)


def _strokes_error(why: str) -> SweepError:
    allowed = f"up to {MOST_STROKES} strokes, {MOST_POINTS:,} points in all, inside the image"
    return SweepError("the drawn hole", why, allowed, "reload the page and draw again, or use a rectangle")


def strokes_to_mask(strokes: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Image.Image:
    """The mask of strokes: white on black, mode L. size: width and height of the image, in px."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for stroke in strokes:
        points, radius = [tuple(point) for point in stroke["points"]], stroke["brush"] / 2
        if len(points) > 1:
            draw.line(points, fill=255, width=max(1, round(stroke["brush"])))
        for x, y in points:  # round joints and ends, as in the browser
            draw.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), fill=255)
    return mask


def _uri(image: Image.Image) -> str:
    """The image as a data URI, scaled down if it is large; strokes are in pixels of the original image."""
    target = io.BytesIO()
    if max(image.size) > _SENT_PX:
        shown = image.copy()
        shown.thumbnail((_SENT_PX, _SENT_PX))
        shown.save(target, "JPEG", quality=88)
        return data_uri(target.getvalue(), "image/jpeg")
    image.save(target, "PNG")
    return data_uri(target.getvalue(), "image/png")
