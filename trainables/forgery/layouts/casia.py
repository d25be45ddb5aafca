"""CASIA 2.0 (J. Dong et al. 2013): Au/, Tp/ and `CASIA 2 Groundtruth`/<name>_gt.png.

The layout is taken from namtpham/casia2groundtruth and two third-party loaders. A name such as
Tp_D_CND_M_N_ani00018_sec00096_00138.tif contains the photograph that a part was copied from and the one that it was
pasted into; the latter is the source.
"""

from __future__ import annotations

import re
from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, names_in

_NAME = re.compile(r"Tp_[DS]_.*_(?P<part>[a-z]{3}\d{5})_(?P<into>[a-z]{3}\d{5})_\d+$")


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001
    real, fake, masks = folders(path, "Au", "Tp", "CASIA 2 Groundtruth")
    reals = [
        ListedImage(real / name, None, 0, Path(name).stem.removeprefix("Au_").replace("_", ""))
        for name in names_in(real)
    ]
    fakes = []
    for name in names_in(fake):
        match = _NAME.match(Path(name).stem)
        source = match["into"] if match else Path(name).stem
        mask = masks / f"{Path(name).stem}_gt.png"
        fakes.append(ListedImage(fake / name, mask, 1, source, "casia"))
    return reals + fakes
