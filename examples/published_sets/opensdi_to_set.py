"""Unpacks the Parquet files of OpenSDI (Y. Wang et al. 2025) as a set in the layout `folder`.

    python opensdi_to_set.py OpenSDI_test/data OUT --model flux --most 1000

OpenSDI is published as Parquet files such as flux-00000-of-00014.parquet, with the columns `key`, `image`, `mask` and
`label` (1: made or changed by a model). OUT, which must be empty, gets images/, masks/ and labels.csv. The bytes of the
images are copied as they are. An image that a model made as a whole has no mask and gets a white one, as in the
authors' loader; `--edited` leaves these out. Whether a key tells the photograph that an image was made from is not
known: the part of a key after its last `/` is the source.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

COLUMNS = ("key", "image", "mask", "label")
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


def refuse(given: str, why: str, allowed: str, fix: str) -> NoReturn:
    """End with an error and exit code 1."""
    raise SystemExit(f"{given}\n  why:     {why}\n  allowed: {allowed}\n  do:      {fix}")


def rows_of(file: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file, a few at a time."""
    try:
        opened = parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        refuse(f"PARQUET {file}", f"it cannot be read: {error}", "a whole file of OpenSDI", "download it again")
    missing = [name for name in COLUMNS if name not in opened.schema_arrow.names]
    if missing:
        has = ", ".join(opened.schema_arrow.names)
        refuse(
            f"PARQUET {file}", f"it has no column {missing[0]}, but {has}", ", ".join(COLUMNS), "name OpenSDI's files"
        )
    for batch in opened.iter_batches(64, columns=list(COLUMNS)):
        yield from batch.to_pylist()


def white_of(image: bytes) -> bytes:
    """A mask of the whole image."""
    with Image.open(io.BytesIO(image)) as opened:
        buffer = io.BytesIO()
        Image.new("L", opened.size, 255).save(buffer, "PNG")
    return buffer.getvalue()


def make(parquets: Path, out: Path, model: str, most: int | None, edited: bool) -> dict[str, int]:
    """Write the set; returns the number of images by label. most: of each label; None for all.

    Ends with an error if there are no files of the model, or if `out` exists and is not empty.
    """
    if most is not None and most < 1:
        refuse(f"--most {most}", "a set needs images", "1 or more, or no --most for all", "give a larger number")
    files = sorted(parquets.glob(f"{model}-*.parquet"))
    if not files:
        there = sorted({file.name.partition("-")[0] for file in parquets.glob("*.parquet")})
        refuse(
            f"--model {model}", f"{parquets} has no {model}-*.parquet", ", ".join(there) or "none", "name another one"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        why, allowed = "it has files, which could be of another set", "a folder that is empty, or does not exist"
        refuse(f"OUT {out}", why, allowed, "name another folder, or remove it first")
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    counts = {0: 0, 1: 0}
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["file", "label", "source", "inpainter"])
        for row in (row for file in files for row in rows_of(file)):
            if min(counts.values()) == most:
                break
            label = int(row["label"])
            if counts[label] == most or (edited and label and row["mask"] is None):
                continue
            name, image = f"{model}-{sum(counts.values()):06d}", row["image"]["bytes"]
            with Image.open(io.BytesIO(image)) as decoded:
                suffix = SUFFIXES.get(decoded.format or "", ".png")
            (out / "images" / f"{name}{suffix}").write_bytes(image)
            if label:
                mask = row["mask"]["bytes"] if row["mask"] else white_of(image)
                (out / "masks" / f"{name}.png").write_bytes(mask)
            source = PurePosixPath(row["key"]).stem
            table.writerow([f"{name}{suffix}", label, source, model if label else ""])
            counts[label] += 1
    return {"photographs": counts[0], "made or changed": counts[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parquets", type=Path, help="folder with OpenSDI's Parquet files")
    parser.add_argument("out", type=Path, help="folder of the set")
    parser.add_argument("--model", required=True, help="sd15, sd2, sd3, sdxl or flux")
    parser.add_argument("--most", type=int, help="number of photographs, and of other images, at most")
    parser.add_argument("--edited", action="store_true", help="leave out images that a model made as a whole")
    given = parser.parse_args()
    counts = make(given.parquets, given.out, given.model, given.most, given.edited)
    print(f"{given.out}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    main()
