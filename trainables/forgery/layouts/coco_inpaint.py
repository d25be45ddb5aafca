"""COCO-Inpaint (H. Yan et al. 2025). **Its published layout was not found.**

This reads JSON files in the form of IMDL-BenCo's JsonDataset: lists of [image, mask], with the word Negative as the
mask of a photograph; names are relative to the set's folder. The number in a name is MS-COCO's, its folder the model.
"""

from __future__ import annotations

import json
from pathlib import Path

from trainables.data.listing import data_files
from trainables.data.text_files import read_text
from trainables.errors import TrialError
from trainables.forgery.public_file_lists import ListedImage, coco_number, file_below, line_error, missing_error


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    """Lists of [image, mask or Negative] in JSON files."""
    files = [file for file in data_files(path, deep=False) if file.suffix == ".json"]
    if not files:
        raise missing_error(
            path, "*.json", "JSON files with lists of [image, mask]; Negative is the mask of a photograph"
        )
    entries = []
    for file in files:
        try:
            pairs = json.loads(read_text(file, "set.path"))
            for image, mask in pairs:
                fake, place = mask != "Negative", Path(image)
                model = place.parent.name if fake else ""
                mask_file = file_below(path, mask) if fake else None
                entries.append(
                    ListedImage(file_below(path, image), mask_file, int(fake), coco_number(place.stem), model)
                )
        except TrialError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise line_error(file, 1, f"it is not a list of [image, mask]: {error}") from error
    return entries
