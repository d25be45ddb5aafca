"""CASIA 1.0 (J. Dong et al. 2013): Au/, Tp/CM/, Tp/Sp/ and `CASIA 1.0 groundtruth`/CM/ and /Sp/, <name>_gt.png.

The layout is that of namtpham/casia1groundtruth and of the loader of photoholmes; `Modified Tp/Tp` is read as well as
`Tp`. In a name such as Sp_D_CND_A_pla0005_pla0023_0281.jpg the second photograph is the one that a part was pasted
into, and the source. One image has no published mask and is left out. Some authentic images are those of CASIA 2.0,
according to MVSS-Net, so a detector that was trained on one has seen images of the other.
"""

from __future__ import annotations

import re
from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, missing_error, names_in

WITHOUT_MASK = "Sp_D_NRN_A_cha0011_sec0011_0542"
"""According to SunnyHaze/IML-Dataset-Corrections."""
_NAME = re.compile(r"Sp_[DS]_.*_(?P<part>[a-z]{3}\d{4})_(?P<into>[a-z]{3}\d{4})_\d+$")
_KINDS = ("CM", "Sp")


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    real, truth = folders(path, "Au", "CASIA 1.0 groundtruth")
    tampered = next((place for place in (path / "Tp", path / "Modified Tp" / "Tp") if place.is_dir()), None)
    if tampered is None:
        raise missing_error(path, "Tp", "the folders Au, Tp (or Modified Tp/Tp) and CASIA 1.0 groundtruth")
    reals = [
        ListedImage(real / name, None, 0, Path(name).stem.removeprefix("Au_").replace("_", ""))
        for name in names_in(real)
    ]
    masks = {name: truth / kind / name for kind in _KINDS for name in names_in(truth / kind)}
    fakes = []
    for kind in _KINDS:
        for name in names_in(tampered / kind):
            stem = Path(name).stem
            if stem == WITHOUT_MASK:
                continue
            match = _NAME.match(stem)
            mask = masks.get(f"{stem}_gt.png", truth / kind / f"{stem}_gt.png")
            source = match["into"] if match else stem
            fakes.append(ListedImage(tampered / kind / name, mask, 1, source, f"casia1_{kind.lower()}"))
    return reals + fakes
