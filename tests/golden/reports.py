"""What the command writes and prints about a store, as text that can be compared."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.golden import doors
from tests.golden.store_files import DIGEST

FORMATS = "html,md,tex,csv,parquet"
_EMBEDDED = re.compile(r"data:(?P<kind>[a-z/+]+);base64,(?P<data>[A-Za-z0-9+/=]+)")
_AGE = re.compile(r"\b\d+(\.\d+)? (s|min|h|d|seconds?|minutes?|hours?|days?) ago\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def written(store: str, sweep: str, out: Path) -> dict[str, str]:
    """The files of a sweep's report, by name; pictures, and the values of Parquet, as digests."""
    printed("report", sweep, "--store", store, "--out", str(out), "--format", FORMATS)
    return dict(_as_text(path) for path in sorted(out.iterdir()))


def printed(*arguments: str) -> str:
    """What `sweeps ...` prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = doors.command(arguments)
    assert code == 0, f"sweeps {' '.join(arguments)} ended with {code}"
    return without_what_may_vary(output.getvalue())


def without_what_may_vary(text: str) -> str:
    """Text without what differs from one look to the next: the working folder, ages, spaces at the end of a line."""
    folder = "".join(rf"\\?{re.escape(letter)}" for letter in str(Path.cwd()))  # Markdown and LaTeX escape some letters
    text = _AGE.sub("AGE ago", re.sub(folder, "FOLDER", text))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def without_digests(text: str) -> str:
    """Text without the digests of pictures, which other versions of the libraries draw a little differently."""
    return re.sub(rf"{DIGEST}\w+", "DIGEST", text)


def numbers(texts: Iterable[str]) -> Counter[str]:
    """Every number in some texts and how often it occurs; a rewording that moves it does not count."""
    return Counter(number for text in texts for number in _NUMBER.findall(without_digests(text)))


def _as_text(path: Path) -> tuple[str, str]:
    if path.suffix == ".parquet":
        import pandas as pd

        table = pd.read_parquet(path)
        return f"{path.name}.txt", "\n".join([*table.columns, _digest(table.to_csv(index=False).encode())]) + "\n"
    if path.suffix in (".svg", ".png"):
        return f"{path.name}.txt", _digest(path.read_bytes()) + "\n"
    return path.name, without_what_may_vary(_EMBEDDED.sub(_embedded, path.read_text(encoding="utf-8")))


def _embedded(match: re.Match[str]) -> str:
    """A picture within a page, which is as large as all the rest of it."""
    return f"data:{match['kind']};{_digest(base64.b64decode(match['data']))}"


def _digest(data: bytes) -> str:
    return f"{DIGEST}{hashlib.sha256(data).hexdigest()[:16]}"
