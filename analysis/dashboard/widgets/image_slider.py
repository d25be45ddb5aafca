"""Two images on top of each other, with a slider that wipes between them and a blink, as an HTML page for an iframe."""

from __future__ import annotations

import html
import io
import secrets

from PIL.Image import Image

from analysis.dashboard import theme
from analysis.report.page import data_uri

_SIDE = 384
"""Largest width and height of the images, in px."""
WIDTH, HEIGHT = 400, 480
"""Size of the page, in px."""
_BLINK_MS = 700
"""How long each of the two images is shown while they alternate; slow enough for WCAG 2.3.1."""
_PAGE = """<!doctype html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'">
<style>
 :root {{ color-scheme: light dark; background: light-dark({ground}, {dark_ground}) }}
 body {{ margin: 0; font: 14px "Source Sans", "Source Sans Pro", sans-serif; max-width: {side}px;
   color: light-dark({light}, {dark}) }}
 .both {{ position: relative; width: 100%; aspect-ratio: 1 }}
 .both img {{ position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated }}
 .both .over {{ clip-path: inset(0 calc(100% - var(--at, 50%)) 0 0) }}
 .both::after {{ content: ""; position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 2px;
   margin-left: -1px; background: #fff; box-shadow: 0 0 2px #000 }}
 input {{ accent-color: #0072b2 }}
 input[type=range] {{ width: 100%; margin: 8px 0 4px }}
 p {{ display: flex; justify-content: space-between; margin: 0; gap: 1em }}
</style></head><body>
<div class="both" id="both"><img alt="{right}" src="{right_png}"><img class="over" alt="{left}" src="{left_png}"></div>
<input type="range" id="at" min="0" max="100" value="50" aria-label="wipe from {left} to {right}">
<p><span id="left">{left}</span><span id="right">{right}</span></p>
<p><label><input type="checkbox" id="blink"> Blink: alternate the two images</label></p>
<script nonce="{nonce}">
 const [both, at, blink, left, right] = ["both", "at", "blink", "left", "right"].map(id => document.getElementById(id));
 let timer = 0;
 const show = share => {{
  both.style.setProperty("--at", share + "%");
  left.style.visibility = share == 0 ? "hidden" : "";
  right.style.visibility = share == 100 ? "hidden" : "";
 }};
 at.addEventListener("input", () => {{ clearInterval(timer); blink.checked = false; show(at.value); }});
 blink.addEventListener("change", () => {{
  clearInterval(timer);
  let first = true;
  const alternate = () => {{ show(first ? 100 : 0); first = !first; }};
  if (blink.checked) {{ alternate(); timer = setInterval(alternate, {blink}); }} else show(at.value);
 }});
</script></body></html>"""


def slider_page(left: tuple[str, Image], right: tuple[str, Image]) -> str:
    """The HTML page, with embedded images. left, right: label and image; labels are escaped."""
    return _PAGE.format(
        nonce=secrets.token_urlsafe(12),
        light=theme.LIGHT["ink"],
        dark=theme.DARK["ink"],
        ground=theme.LIGHT["ground"],
        dark_ground=theme.DARK["ground"],
        side=_SIDE,
        blink=_BLINK_MS,
        left=html.escape(left[0]),
        right=html.escape(right[0]),
        left_png=_uri(left[1]),
        right_png=_uri(right[1]),
    )


def _uri(image: Image) -> str:
    target = io.BytesIO()
    image.save(target, "PNG")
    return data_uri(target.getvalue(), "image/png")
