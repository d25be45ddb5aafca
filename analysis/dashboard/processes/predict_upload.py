"""Applies a trained network to an uploaded image: checks the upload and runs `sweeps predict` in a temporary folder."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, UnidentifiedImageError

from analysis.dashboard.processes.predictor import PredictorProcess
from analysis.dashboard.settings import UPLOAD_MB, DashboardSettings
from sweeps import scratch
from sweeps.errors import SweepError

MOST_PIXELS = 16_000_000
"""Maximum number of pixels of an upload."""
KINDS = ("png", "jpg", "jpeg", "webp", "bmp")
"""File name extensions of uploads."""

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in px."""


@dataclass(frozen=True)
class UploadResult:
    """Output of a trained network for an upload."""

    pictures: dict[str, bytes]
    """PNG by kind, such as `filled`, `box` or `heat`."""
    detection: dict[str, Any]
    """Label, probability and box from a detector; from an inpainter how it filled the hole, with a `note`."""


def open_upload(data: bytes, what: str) -> Image.Image:
    """An upload as an upright RGB image without metadata. Raises SweepError if it is not an allowed image."""
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
            what,
            f"it cannot be read as an image ({type(error).__name__})",
            allowed,
            "open the file in an image viewer and save it as PNG",
        ) from None


def with_hole_outline(image: Image.Image, hole: Rectangle) -> Image.Image:
    """A copy of the image with the hole drawn on it."""
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
    """Run `sweeps predict`. text: a caption, or ''. Raises SweepError with the command's error if it fails."""
    with scratch.folder("try") as folder:
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
        code, output = predictor.ask(arguments)
        if code != 0:
            raise _error_from_output(output, str(folder))
        return _read(out)


def _error_from_output(output: str, folder: str) -> SweepError:
    """The four-part error that the command printed, without the path of the temporary folder."""
    lines = output.replace(f"{folder}/", "").strip().splitlines()
    parts = {
        key: line.partition(":")[2].strip()
        for line in lines
        for key in ("why", "allowed", "do")
        if line.strip().startswith(f"{key}:")
    }
    first = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "sweeps predict")
    why = parts.get("why") or (lines[-1] if lines else "it printed nothing")
    return SweepError(
        first, why, parts.get("allowed", "a finished trial and a hole that fits it"), parts.get("do", "another image")
    )


def _read(out: Path) -> UploadResult:
    """Read the files that the command wrote: pictures, and for a detector a JSON file."""
    pictures: dict[str, bytes] = {}
    detection: dict[str, Any] = {}
    for file in sorted(out.glob("*")):
        if file.suffix == ".png":
            words = {"found": "box", "image": "filled"}
            kind = file.name.removesuffix(".png").rpartition(".")[2]
            pictures[words.get(kind, kind)] = file.read_bytes()
        elif file.suffix == ".json":
            body = json.loads(file.read_text(encoding="utf-8"))
            detection |= body if isinstance(body, dict) else {}
    return UploadResult(pictures, detection)
