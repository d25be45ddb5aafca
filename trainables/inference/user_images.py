"""One image file of any kind and size, and pictures in its coordinates: for using a network outside a trial.

Networks see 8-bit colour, upright; results are in the pixels of the file as they are stored in it, before the rotation
that its EXIF tag asks for. That tag is written to every picture made here, so it is shown as its original is.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainables.errors import TrialError

MOST_PIXELS = 64_000_000
"""Of an image: 8,000 x 8,000. A small file can decode to any number; it is looked at before decoding."""
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What an EXIF orientation asks for."""
_BACK = {**_UPRIGHT, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_SIXTEEN = 257
"""What a value of 8 bits is multiplied with to be one of 16."""

Box = tuple[float, float, float, float]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """A decoded file. stored: as in the file: L, LA, RGB, RGBA, or I;16 for more than 8 bits. orientation: EXIF's."""

    file: Path
    stored: Image.Image
    orientation: int
    profile: bytes | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored, px."""
        return self.stored.size

    def upright(self) -> Image.Image:
        """RGB, as it is meant to be seen; what is transparent keeps the colour that it has in the file."""
        image = self.stored
        if image.mode == "I;16":
            grey = (np.asarray(image).astype(np.uint32) + _SIXTEEN // 2) // _SIXTEEN
            image = Image.fromarray(grey.astype(np.uint8))
        return self.turned(image.convert("RGB"), _UPRIGHT)

    def turned(self, image: Image.Image, how: dict[int, Image.Transpose]) -> Image.Image:
        return image.transpose(how[self.orientation]) if self.orientation in how else image

    def back(self, upright: Image.Image) -> Image.Image:
        """An upright picture in the coordinates of the file."""
        return self.turned(upright, _BACK)

    def box_back(self, box: Box) -> Box:
        """A box x1 y1 x2 y2 in shares of the upright sides, in px of the file."""
        x1, y1, x2, y2 = box
        width, height = self.size
        flipped_x, flipped_y = (1 - x2, y1, 1 - x1, y2), (x1, 1 - y2, x2, 1 - y1)
        across = (y1, x1, y2, x2)
        shares = {
            2: flipped_x,
            3: (1 - x2, 1 - y2, 1 - x1, 1 - y1),
            4: flipped_y,
            5: across,
            6: (y1, 1 - x2, y2, 1 - x1),
            7: (1 - y2, 1 - x2, 1 - y1, 1 - x1),
            8: (1 - y2, x1, 1 - y1, x2),
        }.get(self.orientation, box)
        return shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height

    def filled(self, fill: Image.Image, hole_hw: Mask) -> Image.Image:
        """The stored image with another's pixels in the hole, both upright. Known pixels are kept, opaque or not."""
        hole = self.back(Image.fromarray(hole_hw.astype(np.uint8) * 255))
        new = self.back(fill)
        if self.stored.mode == "I;16":
            values = np.asarray(self.stored).copy()
            at = np.asarray(hole) > 0
            values[at] = np.asarray(new.convert("L")).astype(np.uint16)[at] * _SIXTEEN
            return Image.fromarray(values)
        return Image.composite(new.convert(self.stored.mode), self.stored, hole)

    def png(self, image: Image.Image) -> bytes:
        """A picture in the file's coordinates, with its orientation and, where it still fits, its colour profile."""
        exif = Image.Exif()
        if self.orientation in _UPRIGHT:
            exif[_ORIENTATION] = self.orientation
        target = io.BytesIO()
        profile = self.profile if image.mode == self.stored.mode else None
        image.save(target, format="PNG", exif=exif, icc_profile=profile)
        return target.getvalue()


def read(file: Path) -> Picture:
    """Any image that Pillow decodes; of several frames the first. Raises TrialError where it does not, or is too large.

    Palettes become colours, 1 bit becomes grey; CMYK, YCbCr, Lab and the like become RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file)
        with opened as image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_large(file, f"it has {image.width:,} x {image.height:,} pixels")
            profile = image.info.get("icc_profile")
            orientation = image.getexif().get(_ORIENTATION, 1)
            plain = _plain(image)
            return Picture(file, plain, orientation, profile if plain.mode[0] == image.mode[0] else None)
    except Image.DecompressionBombError as error:
        raise _too_large(file, str(error)) from error
    except TrialError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise TrialError(
            str(file),
            f"it does not decode: {error or type(error).__name__}",
            "an image file that Pillow can read: PNG, JPEG, WEBP, TIFF, BMP, GIF, ...",
            "give another file",
        ) from error


def _plain(image: Image.Image) -> Image.Image:
    """One of the modes of `Picture.stored`. Raises ValueError for values whose range nobody knows."""
    mode = image.mode
    if mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return image.copy()
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "PA"):
        return image.convert("RGBA" if mode == "PA" or "transparency" in image.info else "RGB")
    if mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its values are not within 16 bits")
        return Image.fromarray(values.astype(np.uint16))
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    return image.convert("RGB")


def _too_large(file: Path, why: str) -> TrialError:
    return TrialError(
        str(file),
        why,
        f"at most {MOST_PIXELS:,} pixels, e.g. 8,000 x 8,000",
        "make it smaller, or cut out the part that matters",
    )


def read_hole(given: str, picture: Picture) -> Mask:
    """The hole (upright) that `--mask` says: x,y,w,h in px of the file, or an image in which it is white.

    An image of the file's size is turned as the file is; one of the upright size is taken as it is. Raises TrialError.
    """
    width, height = picture.size
    parts = given.split(",")
    if len(parts) == 4 and all(part.strip().lstrip("-").isdigit() for part in parts):
        x, y, w, h = (int(part) for part in parts)
        if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise _bad_mask(given, f"it is not inside the image of {width} x {height} px", f"0,0,{width},{height}")
        stored = np.zeros((height, width), dtype=np.uint8)
        stored[y : y + h, x : x + w] = 255
        mask = picture.turned(Image.fromarray(stored), _UPRIGHT)
    else:
        if not Path(given).is_file():
            raise _bad_mask(given, "there is no such file, and it is not four whole numbers", "x,y,w,h or a file")
        of = read(Path(given))
        mask, upright = of.upright().convert("L"), picture.upright().size
        if of.size == picture.size:
            mask = picture.turned(of.stored.convert("L") if of.stored.mode != "I;16" else mask, _UPRIGHT)
        elif mask.size != upright:
            why = f"it has {of.size[0]} x {of.size[1]} px, the image {width} x {height}"
            raise _bad_mask(given, why, f"a mask of {width} x {height} px")
    hole = np.asarray(mask) >= 128
    if not hole.any() or hole.all():
        raise _bad_mask(given, "it has no hole" if not hole.any() else "nothing of the image is known", "a part of it")
    return hole


def _bad_mask(given: str, why: str, allowed: str) -> TrialError:
    return TrialError(f"--mask {given}", why, f"{allowed}; white is what is to be filled", "--mask 10,10,40,30")


def summary(picture: Picture) -> dict[str, Any]:
    """What a result says of its file."""
    return {"file": str(picture.file), "width": picture.size[0], "height": picture.size[1]}
