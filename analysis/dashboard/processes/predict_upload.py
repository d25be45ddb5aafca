"""A trained network on somebody's image: the upload, checked; `sweeps predict` on it in a temporary folder."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, UnidentifiedImageError

from analysis.dashboard.processes.predictor import PredictorProcess
from analysis.dashboard.settings import UPLOAD_MB, DashboardSettings
from sweeps.errors import SweepError

MOST_PIXELS = 16_000_000
KINDS = ("png", "jpg", "jpeg", "webp", "bmp")

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in px."""


@dataclass(frozen=True)
class UploadResult:
    """What came back. pictures: PNG bytes by what they show; found: what a detector says, empty of an inpainter."""

    pictures: dict[str, bytes]
    found: dict[str, Any]


def open_upload(data: bytes, what: str) -> Image.Image:
    """An upload as an upright RGB image; nothing of the file but its pixels goes on. SweepError if it is none."""
    allowed = f"{', '.join(KINDS)}, up to {MOST_PIXELS // 10**6} million pixels and {UPLOAD_MB} MB"
    if len(data) > UPLOAD_MB << 20:
        raise SweepError(what, f"it has {len(data) >> 20} MB", allowed, "a smaller file")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "BMP")) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.width * image.height > MOST_PIXELS:
                raise SweepError(what, f"it has {image.width} × {image.height} pixels", allowed, "a smaller image")
            from PIL import ImageOps

            return ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError, Warning) as error:
        if isinstance(error, SweepError):
            raise
        raise SweepError(
            what, f"it cannot be read as an image ({type(error).__name__})", allowed, "another file"
        ) from None


def with_hole_outline(image: Image.Image, hole: Rectangle) -> Image.Image:
    """The image with its hole drawn in."""
    x, y, width, height = hole
    shown = image.copy()
    draw = ImageDraw.Draw(shown)
    line = max(1, min(image.size) // 100)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill="#ffffff", outline="#d55e00", width=line)
    return shown


def run(
    given: DashboardSettings,
    predictor: PredictorProcess,
    trial: str,
    image: Image.Image,
    mask: Rectangle | Image.Image | None,
    text: str = "",
) -> UploadResult:
    """Ask `sweeps predict`. text: a caption, '' for none. Raises SweepError with what it said where it could not."""
    with _folder() as folder:
        file, out = folder / "image.png", folder / "out"
        image.save(file, "PNG")
        arguments = [trial, str(file), "--store", given.store, "--out", str(out)]
        if isinstance(mask, Image.Image):
            mask.convert("L").save(folder / "mask.png", "PNG")
            arguments += ["--mask", str(folder / "mask.png")]
        elif mask is not None:
            arguments += ["--mask", ",".join(map(str, mask))]
        if text:
            arguments += [f"--text={text}"]
        code, said = predictor.ask(arguments)
        if code != 0:
            raise _refused(said, str(folder))
        return _read(out)


def _refused(said: str, folder: str) -> SweepError:
    """The command's own error in its four parts, without the name of the temporary folder."""
    lines = said.replace(f"{folder}/", "").strip().splitlines()
    parts = {
        key: line.partition(":")[2].strip()
        for line in lines
        for key in ("why", "allowed", "do")
        if line.strip().startswith(f"{key}:")
    }
    first = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "sweeps predict")
    why = parts.get("why") or (lines[-1] if lines else "it said nothing")
    return SweepError(
        first, why, parts.get("allowed", "a finished trial and a hole that fits it"), parts.get("do", "another")
    )


def _read(out: Path) -> UploadResult:
    """The files that the command wrote: pictures, and one JSON of what a detector found."""
    pictures: dict[str, bytes] = {}
    found: dict[str, Any] = {}
    for file in sorted(out.glob("*")):
        if file.suffix == ".png":
            words = {"found": "box", "image": "filled"}
            kind = file.name.removesuffix(".png").rpartition(".")[2]
            pictures[words.get(kind, kind)] = file.read_bytes()
        elif file.suffix == ".json":
            body = json.loads(file.read_text(encoding="utf-8"))
            found |= body if isinstance(body, dict) else {}
    return UploadResult(pictures, found)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one try, gone afterwards; only this user can look into it."""
    with tempfile.TemporaryDirectory(prefix="sweeps-try-") as name:
        yield Path(name)
