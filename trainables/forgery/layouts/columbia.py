"""Columbia Uncompressed Image Splicing Detection (Y.-F. Hsu and S.-F. Chang 2006): 4cam_auth/ and 4cam_splc/.

The layout is that of the lists of CAT-Net, MVSS-Net and TruFor: 4cam_splc/canong3_canonxt_sub_16.tif with the mask
4cam_splc/edgemask/canong3_canonxt_sub_16_edgemask.jpg. A mask shows the regions of two cameras in red and in green; the
green one is the spliced one, as in the loader of photoholmes. The spliced images were made from the authentic ones, and
no name says from which: every image is its own source, so test on this set, and do not split it.
"""

from __future__ import annotations

from pathlib import Path

from trainables.forgery.public_file_lists import ListedImage, folders, names_in


def images(path: Path, authentic: Path | None) -> list[ListedImage]:  # noqa: ARG001 - all layouts have this signature
    real, fake, masks = folders(path, "4cam_auth", "4cam_splc", "4cam_splc/edgemask")
    reals = [ListedImage(real / name, None, 0, Path(name).stem) for name in names_in(real)]
    return reals + [
        ListedImage(
            fake / name,
            masks / f"{Path(name).stem}_edgemask.jpg",
            1,
            Path(name).stem,
            "columbia",
            manipulated="green",
        )
        for name in names_in(fake)
    ]
