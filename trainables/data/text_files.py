"""Reads lists and tables of a data set as text."""

from __future__ import annotations

import codecs
from pathlib import Path

from trainables.errors import TrialError

_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_text(file: Path, key: str) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark. TrialError, which names the file, if it is not.

    key: the configuration key that names the file, for the error.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        allowed = "a file that this user may read"
        raise TrialError(f"{key}: {file}", f"{error.strerror}", allowed, f"ls -l {file}", key) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        looks = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "Windows-1252")
        raise TrialError(
            f"{key}: {file}",
            f"byte {error.start + 1} is not UTF-8; the file looks like {looks}",
            "text files in UTF-8",
            f"save it as UTF-8: iconv -f {looks} -t UTF-8 {file.name} > new.csv && mv new.csv {file.name}",
            key,
        ) from None
