"""A hole that is drawn over an image with mouse, pen or finger: the board in the browser, and the mask of its strokes.

The browser tells strokes as points in pixels of the image. They are checked here, and painted here.
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
"""Of all strokes together."""
SHOWN_PX = 480
"""The longer side of the image, where the page has the room."""
_SENT_PX = 2 * SHOWN_PX
_FOLDER = Path(__file__).parent.parent / "browser"
_HTML, _CSS, _JS = ((_FOLDER / f"drawing.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))


def drawing_board(image: Image.Image, key: str) -> Image.Image | None:
    """A board with the image; the mask of what is drawn on it, None before anything is. key: changes with the image."""
    board = st.components.v2.component("sweeps_drawing", html=_HTML, css=_CSS, js=_JS)
    kept = st.session_state.get(f"{key}-strokes", [])  # a board that is shown again begins with them
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
    told = board(key=key, data=data, default={"strokes": kept}, on_strokes_change=_nothing)
    strokes = parse_strokes(told.get("strokes"), image.size)
    st.session_state[f"{key}-strokes"] = strokes
    return strokes_to_mask(strokes, image.size) if strokes else None


def _nothing() -> None:
    """Streamlit keeps a state only where somebody listens to it."""


def parse_strokes(told: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    """What a browser told, as strokes: {brush: px, points: [[x, y], ...] in px}. SweepError for anything else.

    size: width and height of the image, which no point leaves.
    """
    if not isinstance(told, Sequence) or isinstance(told, str) or len(told) > MOST_STROKES:
        raise _refused(f"it is no list of up to {MOST_STROKES} strokes")
    strokes = [_stroke(one, size) for one in told]
    if sum(len(stroke["points"]) for stroke in strokes) > MOST_POINTS:
        raise _refused(f"it has more than {MOST_POINTS:,} points")
    return strokes


def _stroke(told: Any, size: tuple[int, int]) -> dict[str, Any]:
    points = told.get("points") if isinstance(told, Mapping) else None
    if not isinstance(points, Sequence) or isinstance(points, str) or not 1 <= len(points) <= MOST_POINTS:
        raise _refused("a stroke has no list of points")
    brush = _number(told.get("brush"), max_brush_px(size))
    if brush < 1:
        raise _refused("a brush is thinner than 1 px")
    if not all(isinstance(one, Sequence) and not isinstance(one, str) and len(one) == 2 for one in points):
        raise _refused("a point is no pair of numbers")
    return {
        "brush": brush,
        "points": [[_number(value, side) for value, side in zip(one, size, strict=True)] for one in points],
    }


def max_brush_px(size: tuple[int, int]) -> int:
    """The widest brush, px."""
    return max(2, round(max(size) / 4))


def _number(told: Any, most: int) -> float:
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not (math.isfinite(told) and 0 <= told <= most):
        raise _refused("a point lies outside of the image, or a brush is too wide")
    return float(told)


def _refused(why: str) -> SweepError:
    allowed = f"up to {MOST_STROKES} strokes, {MOST_POINTS:,} points in all, inside of the image"
    return SweepError("the drawn hole", why, allowed, "reload the page and draw again, or use a rectangle")


def strokes_to_mask(strokes: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Image.Image:
    """The mask of strokes, white on black, mode L. size: of the image, px."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for stroke in strokes:
        points, radius = [tuple(point) for point in stroke["points"]], stroke["brush"] / 2
        if len(points) > 1:
            draw.line(points, fill=255, width=max(1, round(stroke["brush"])))
        for x, y in points:  # joints and ends are round, as in the browser
            draw.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), fill=255)
    return mask


def _uri(image: Image.Image) -> str:
    """The image for the browser: a large one smaller, since strokes are told in its own pixels anyway."""
    target = io.BytesIO()
    if max(image.size) > _SENT_PX:
        shown = image.copy()
        shown.thumbnail((_SENT_PX, _SENT_PX))
        shown.save(target, "JPEG", quality=88)
        return data_uri(target.getvalue(), "image/jpeg")
    image.save(target, "PNG")
    return data_uri(target.getvalue(), "image/png")
