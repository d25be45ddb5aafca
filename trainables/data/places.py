"""The validation images of Places365 in their small form, 256 px: `val_256/` and `places365_val.txt`.

Source: B. Zhou et al. 2017, "Places: A 10 Million Image Database for Scene Recognition". The layout is that of
torchvision's `Places365(split="val", small=True)`, which does the download; the files are read here.
"""

from __future__ import annotations

from pathlib import Path

from trainables.data.cifar import one_process_at_a_time
from trainables.data.folders import Files, split_by_hash
from trainables.data.splits import hashed
from trainables.errors import TrialError

NAME = "places365_val"
IMAGES, LISTED = "val_256", "places365_val.txt"
PUBLISHED = 36_500
"""How many there are: 100 of each of 365 scenes. 000_0d9f1f22a9376145 has as many."""
PARTS = {"train": 25_000, "val": 5_000, "test": 6_500}
"""How 000 parts them; which ones follows from a hash of their names."""


class Places(Files):
    """All 36,500 are parted as in 000; where there are fewer, 80/10/10 by a hash of their names."""

    def __init__(self, root: Path | None) -> None:
        root = _downloaded() if root is None else root
        names = _listed(root)
        super().__init__(NAME, root / IMAGES, _parted(names))
        self._listed_names = names

    def verify(self) -> None:
        """Raise TrialError where a listed image is not there. Whether it decodes is only seen by decoding it."""
        there = {path.name for path in self._folder.iterdir()}
        missing = [name for name in self._listed_names if name not in there]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise _error(self._folder / missing[0], f"the list has it, the folder has not{more}")


def _listed(root: Path) -> list[str]:
    """Names of the images, from lines such as `Places365_val_00000001.jpg 165`."""
    try:
        lines = (root / LISTED).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _error(root / LISTED, f"it cannot be read: {error.strerror}") from error
    names = [line.split()[0].lstrip("/") for line in lines if line.strip()]
    if not names or not (root / IMAGES).is_dir():
        raise _error(root / (IMAGES if names else LISTED), "it is empty" if not names else "there is no such folder")
    return names


def _parted(names: list[str]) -> dict[str, str]:
    if len(names) != PUBLISHED:
        return {name: split_by_hash(name) for name in names}
    splits = [split for split, count in PARTS.items() for _ in range(count)]
    return dict(zip(sorted(names, key=lambda name: (hashed(f"split {name}"), name)), splits, strict=True))


def _downloaded() -> Path:
    """The user's cache, into which torchvision downloads them the first time: 500 MB."""
    root = Path.home() / ".cache" / "inpaint-sweeps"
    try:
        with one_process_at_a_time(root):
            if not ((root / IMAGES).is_dir() and (root / LISTED).is_file()):
                import torchvision.datasets  # six seconds: it loads torch's compiler

                torchvision.datasets.Places365(str(root), split="val", small=True, download=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: torchvision's, for a wrong md5
        raise _error(root / IMAGES, f"the download failed: {error}") from error
    return root


def _error(file: Path, why: str) -> TrialError:
    root = file.parent if file.name in (IMAGES, LISTED) else file.parent.parent
    return TrialError(
        f"{NAME}, {file}",
        why,
        f"the folder {IMAGES} and the list {LISTED} as they were published, below the data root",
        "unpack val_256.tar and filelist_places365-standard.tar of http://data.csail.mit.edu/places/places365/ in "
        f"{root}, or give the data root that holds them",
    )
