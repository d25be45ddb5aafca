"""Image files of any format and size as input of a network, and result pictures in the coordinates of the file.

Networks see upright 8-bit colour images. Results are in the file's stored pixels, before the rotation of its EXIF
orientation tag. Every result picture gets the same tag, so that it is displayed like its original.
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

from trainables.data.image_files import WHITE, read_grey, whites_in_words
from trainables.errors import TrialError
from trainables.inference import deep_colour
from trainables.inference.deep_colour import Deep

MOST_PIXELS = 64_000_000
"""Most pixels of an image: 8,000 x 8,000. Checked before decoding, because a small file can decode to any size."""
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
"""The transposition that turns an image upright, by EXIF orientation."""
_BACK = {**_UPRIGHT, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}

Box = tuple[float, float, float, float]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """A decoded image file."""

    file: Path
    stored: Image.Image
    """The image as stored in the file, of mode L, LA, RGB, RGBA, or I;16 for grey of more than 8 bits."""
    orientation: int
    """EXIF orientation, 1 to 8."""
    profile: bytes | None
    """ICC colour profile, if the file has one that fits `stored`."""
    exif: bytes | None = None
    """EXIF data, orientation included."""
    dpi: tuple[float, float] | None = None
    """Resolution, if the file states one."""
    deep: Deep | None = None
    """The stored values if they are colours with 16 bits per channel, of which `stored` has 8."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored, px."""
        return self.stored.size

    def upright(self) -> Image.Image:
        """The upright image in RGB; transparent pixels keep their stored colour."""
        image = self.stored
        if image.mode == "I;16":
            grey = (np.asarray(image).astype(np.uint32) + deep_colour.SIXTEEN // 2) // deep_colour.SIXTEEN
            image = Image.fromarray(grey.astype(np.uint8))
        return self.turned(image.convert("RGB"), _UPRIGHT)

    def turned(self, image: Image.Image, how: dict[int, Image.Transpose]) -> Image.Image:
        """An image transposed by the file's orientation. how: `_UPRIGHT` or `_BACK`."""
        return image.transpose(how[self.orientation]) if self.orientation in how else image

    def back(self, upright: Image.Image) -> Image.Image:
        """An upright image in the coordinates of the file."""
        return self.turned(upright, _BACK)

    def box_back(self, box: Box) -> Box:
        """A box x1 y1 x2 y2 in px of the file. box: as shares of the upright image's sides."""
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
        """The stored image with the pixels of `fill` in the hole; known pixels and their transparency are unchanged.

        fill and hole_hw are upright.
        """
        hole = self.back(Image.fromarray(hole_hw.astype(np.uint8) * 255))
        new = self.back(fill)
        if self.stored.mode == "I;16":
            values = np.asarray(self.stored).copy()
            at = np.asarray(hole) > 0
            values[at] = np.asarray(new.convert("L")).astype(np.uint16)[at] * deep_colour.SIXTEEN
            return Image.fromarray(values)
        return Image.composite(new.convert(self.stored.mode), self.stored, hole)

    def filled_deep(self, fill: Image.Image, hole_hw: Mask) -> Deep | None:
        """`filled` with 16 bits per channel; None if the file has 8."""
        if self.deep is None:
            return None
        hole = np.asarray(self.back(Image.fromarray(hole_hw.astype(np.uint8) * 255))) > 0
        new = np.asarray(self.back(fill).convert(self.stored.mode)).astype(np.uint16) * deep_colour.SIXTEEN
        return np.where(hole[..., None], new, self.deep)

    def deep_png(self, values: Deep) -> bytes:
        """PNG of values with 16 bits per channel, with the file's EXIF data, resolution and colour profile."""
        return deep_colour.png(values, self.exif, self.dpi, self.profile)

    def png(self, image: Image.Image) -> bytes:
        """PNG of an image in the file's coordinates, with its EXIF data, resolution and, if it fits, colour profile."""
        target = io.BytesIO()
        profile = self.profile if image.mode == self.stored.mode else None
        kept = {"exif": self.exif, "dpi": self.dpi, "icc_profile": profile}
        image.save(target, format="PNG", **{key: value for key, value in kept.items() if value is not None})
        return target.getvalue()


def read(file: Path) -> Picture:
    """Read any image that Pillow decodes, of several frames the first. Raises TrialError if it fails or is too large.

    Palettes become colours, 1 bit becomes grey; CMYK, YCbCr, Lab and the like become RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file)
        with opened as image:
            return decode(image, file)
    except Image.DecompressionBombError as error:
        raise _too_large(file, f"it has too many pixels: {error}") from error
    except TrialError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
        raise TrialError(
            str(file),
            f"it does not decode: {error or type(error).__name__}",
            "an image file that Pillow can read: PNG, JPEG, WEBP, TIFF, BMP, GIF, ...",
            f"open {file} in an image viewer: if it is damaged there too, restore it, else save it as PNG",
        ) from error


def decode(image: Image.Image, file: Path) -> Picture:
    """The picture of an opened image; ValueError or OSError if it cannot be decoded, TrialError if it is too large."""
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(file, f"it has {image.width:,} x {image.height:,} pixels")
    is_deep = deep_colour.is_deep(image)  # known before the pixels are read
    profile = image.info.get("icc_profile")
    orientation = image.getexif().get(_ORIENTATION, 1)
    plain = _plain(image)
    deep = _deep(image) if is_deep else None
    if deep is not None:
        plain = deep_colour.reduced(deep)
    fitting = profile if plain.mode[0] == image.mode[0] else None
    exif = image.info.get("exif") or _exif_of(orientation)
    return Picture(file, plain, orientation, fitting, exif, _dpi(image), deep)


def _deep(image: Image.Image) -> Deep:
    """The colours of an opened file with 16 bits per channel, which Pillow would reduce to 8 in silence."""
    file = Path(getattr(image, "filename", "") or "")
    if not file.is_file():
        raise ValueError("its colours have 16 bits per channel, of which Pillow reads 8; give the path of the file")
    return deep_colour.read(file)


def _exif_of(orientation: int) -> bytes | None:
    """EXIF data with the orientation alone, for formats that store it elsewhere; None if the image is upright."""
    if orientation not in _UPRIGHT:
        return None
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif.tobytes()


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """The resolution that a file states, as positive finite numbers; None if it states none."""
    try:
        x, y = (float(value) for value in image.info.get("dpi") or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _plain(image: Image.Image) -> Image.Image:
    """The image in one of the modes of `Picture.stored`. Raises ValueError if the range of its values is unknown."""
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
            raise ValueError("its values exceed 16 bits")
        return Image.fromarray(values.astype(np.uint16))
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    return image.convert("RGB")


def _too_large(file: Path, why: str) -> TrialError:
    return TrialError(
        str(file),
        why,
        f"at most {MOST_PIXELS:,} pixels, e.g. 8,000 x 8,000",
        "resize the image, or crop it to the part that matters",
    )


def read_hole(given: str, picture: Picture) -> Mask:
    """The hole given by `--mask`, upright: either x,y,w,h in px of the file, or an image that is white in the hole.

    A mask with the file's stored size is turned upright like the file; one with the upright size is used unchanged.
    Raises TrialError.
    """
    width, height = picture.size
    parts, named = given.split(","), f"--mask {given}"
    if len(parts) == 4 and all(part.strip().lstrip("-").isdigit() for part in parts):
        x, y, w, h = (int(part) for part in parts)
        if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise _bad_mask(named, f"it is not inside the image ({width} x {height} px)", f"0,0,{width},{height}")
        stored = np.zeros((height, width), dtype=np.uint8)
        stored[y : y + h, x : x + w] = 255
        return _checked(named, picture.turned(Image.fromarray(stored), _UPRIGHT))
    if not Path(given).is_file():
        raise _bad_mask(named, "it is neither a file nor four whole numbers", "x,y,w,h or a file")
    return hole_of(named, read(Path(given)), picture)


def hole_of(named: str, of: Picture, picture: Picture) -> Mask:
    """The hole that an image shows in white, upright; see `read_hole`. named: what was given, for errors."""
    stored, upright = read_grey(of.stored), picture.upright().size
    mask = of.turned(stored, _UPRIGHT)
    if of.size == picture.size:
        mask = picture.turned(stored, _UPRIGHT)
    elif mask.size != upright:
        (width, height), (w, h) = picture.size, of.size
        why = f"the mask has {w} x {h} px, the image {width} x {height}"
        raise _bad_mask(named, why, f"a mask of {width} x {height} px")
    return _checked(named, mask)


def _checked(named: str, mask: Image.Image) -> Mask:
    hole = np.asarray(mask) >= WHITE
    if not hole.any() or hole.all():
        found = whites_in_words(mask)
        raise _bad_mask(
            named,
            ("the mask has no hole" if not hole.any() else "the hole covers the whole image") + f": {found}",
            "a hole that covers a part of the image",
        )
    return hole


def _bad_mask(named: str, why: str, allowed: str) -> TrialError:
    return TrialError(named, why, f"{allowed}; white marks the hole", "--mask 10,10,40,30")


def summary(picture: Picture) -> dict[str, Any]:
    """The input file's name and size, for a result."""
    return {"file": str(picture.file), "width": picture.size[0], "height": picture.size[1]}
