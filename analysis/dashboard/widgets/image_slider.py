"""Two images on top of each other with a slider that wipes between them, as an HTML page for an iframe."""

from __future__ import annotations

import html
import io
import secrets

from PIL.Image import Image

from analysis.report.page import data_uri

_SIDE = 384
"""Width and height of the images, in px."""
_PAGE = """<!doctype html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'">
<style>
 body {{ margin: 0; font: 14px "Source Sans", "Source Sans Pro", sans-serif; color: {ink}; width: {side}px }}
 .both {{ position: relative; width: {side}px; height: {side}px }}
 .both img {{ position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated }}
 .both .over {{ clip-path: inset(0 calc(100% - var(--at, 50%)) 0 0) }}
 .both::after {{ content: ""; position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px;
   margin-left: -1px; background: #fff; box-shadow: 0 0 2px #000 }}
 input {{ width: 100%; margin: 8px 0 4px; accent-color: #0072b2 }}
 p {{ display: flex; justify-content: space-between; margin: 0; gap: 1em }}
</style></head><body>
<div class="both" id="both"><img alt="{right}" src="{right_png}"><img class="over" alt="{left}" src="{left_png}"></div>
<input type="range" id="at" min="0" max="100" value="50" aria-label="wipe from {left} to {right}">
<p><span>{left}</span><span>{right}</span></p>
<script nonce="{nonce}">
 const at = document.getElementById("at");
 at.addEventListener("input", () => document.getElementById("both").style.setProperty("--at", at.value + "%"));
</script></body></html>"""


def slider_page(left: tuple[str, Image], right: tuple[str, Image], ink: str) -> str:
    """The HTML page, with embedded images. left, right: label and image; labels are escaped."""
    return _PAGE.format(
        nonce=secrets.token_urlsafe(12),
        ink=ink,
        side=_SIDE,
        left=html.escape(left[0]),
        right=html.escape(right[0]),
        left_png=_uri(left[1]),
        right_png=_uri(right[1]),
    )


def _uri(image: Image) -> str:
    target = io.BytesIO()
    image.save(target, "PNG")
    return data_uri(target.getvalue(), "image/png")
