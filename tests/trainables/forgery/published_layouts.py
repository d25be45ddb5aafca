"""Small sets in the layouts of `trainables.forgery.layouts`, made of photographs, their fills and masks."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def make_folder(root, photographs):
    rows = ["file,label,source,inpainter"]
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "images" / f"{number}_real.png", real)
        save(root / "images" / f"{number}_fake.png", fake)
        save(root / "masks" / f"{number}_fake.png", mask)
        rows += [f"{number}_real.png,0,{number},", f"{number}_fake.png,1,{number},telea"]
    (root / "labels.csv").write_text("\n".join(rows))


def make_casia(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "Au" / f"Au_ani_{number + 100:05d}.jpg", real)
        name = f"Tp_S_NRN_S_N_sec{number:05d}_ani{number + 100:05d}_{number:05d}"
        save(root / "Tp" / f"{name}.tif", fake)
        save(root / "CASIA 2 Groundtruth" / f"{name}_gt.png", np.repeat(mask[..., None], 3, axis=2))


def make_imd2020(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / f"1a{number}" / f"1a{number}_orig.jpg", real)
        save(root / f"1a{number}" / f"c8{number}_0.png", fake)
        save(root / f"1a{number}" / f"c8{number}_0_mask.png", mask)


def make_defacto(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "coco" / f"{number:012d}.jpg", real)
        save(root / "set" / "inpainting_img" / "img" / f"0_{number:012d}.tif", fake)
        larger = np.array(Image.fromarray(mask).resize((65, 48), Image.Resampling.NEAREST))
        save(root / "set" / "inpainting_annotations" / "probe_mask" / f"0_{number:012d}.jpg", larger)


def make_coco_inpaint(root, photographs):
    pairs = []
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "real" / f"{number:012d}.jpg", real)
        save(root / "sdxl" / f"{number:012d}.png", fake)
        save(root / "mask" / f"{number:012d}.png", mask)
        pairs += [[f"sdxl/{number:012d}.png", f"mask/{number:012d}.png"], [f"real/{number:012d}.jpg", "Negative"]]
    (root / "train.json").write_text(json.dumps(pairs))


def make_columbia(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "4cam_auth" / f"canonxt_{number:02d}_sub_07.tif", real)
        save(root / "4cam_splc" / f"canong3_canonxt_sub_{number:02d}.tif", fake)
        edges = np.where(mask[..., None] > 0, np.uint8([0, 200, 0]), np.uint8([200, 0, 0]))
        save(root / "4cam_splc" / "edgemask" / f"canong3_canonxt_sub_{number:02d}_edgemask.jpg", edges)


def make_coverage(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "image" / f"{number}.tif", real)
        save(root / "image" / f"{number}t.tif", fake)
        for name, drawn in (("copy", 255 - mask), ("forged", mask), ("paste", 255 - mask)):
            save(root / "mask" / f"{number}{name}.tif", drawn)


def make_nist16(root, photographs):
    columns = "TaskID|ProbeFileName|ProbeMaskFileName|IsTarget|IsManipulationTypeRemoval|BaseFileName"
    rows, masks = [columns], "reference/manipulation/mask"
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "probe" / f"NC2016_{number:04d}.jpg", real)
        save(root / "probe" / f"NC2016_{number + 5000}.jpg", fake)
        save(root / masks / f"NC2016_{number:04d}.png", 255 - mask)
        rows += [
            f"manipulation|probe/NC2016_{number:04d}.jpg||N||",
            f"manipulation|probe/NC2016_{number + 5000}.jpg|{masks}/NC2016_{number:04d}.png|Y|Y|"
            f"world/NC2016_{number:04d}.jpg",
        ]
    (root / "reference" / "manipulation" / "NC2016-manipulation-ref.csv").write_text("\n".join(rows))


def make_casia1(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "Au" / f"Au_sec_{number:04d}.jpg", real)
        name = f"Sp_D_CND_A_ani0056_sec{number:04d}_{number:04d}"
        save(root / "Tp" / "Sp" / f"{name}.jpg", fake)
        save(root / "CASIA 1.0 groundtruth" / "Sp" / f"{name}_gt.png", mask)
    save(root / "Tp" / "Sp" / "Sp_D_NRN_A_cha0011_sec0011_0542.jpg", photographs[0][1])


def make_cocoglide(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "real" / f"dining table_{number}.png", real)
        save(root / "fake" / f"glide_inpainting_val2017_{number}_up.png", fake)
        save(root / "mask" / f"dining table_{number}_mask.png", mask)


def make_autosplice(root, photographs):
    for number, (real, fake, mask) in enumerate(photographs):
        save(root / "Authentic" / f"{number}.jpg", real)
        save(root / "Forged_JPEG75" / f"{number}_0.jpg", fake)
        save(root / "Mask" / f"{number}_mask.png", mask)


def make_tgif(root, photographs):
    splits = ("training", "training", "training", "validation", "testing")
    for number, (real, fake, mask) in enumerate(photographs):
        split = splits[number % len(splits)]
        save(root / f"orig_{split}" / "cat" / f"{number}_orig.png", real)
        save(root / f"orig_{split}" / "cat" / f"{number}_orig_512.png", real[:32, :32])
        save(root / f"sd2-sp_{split}" / "cat" / f"{number}_mask_bbox.png_ps_mask.png_sd2_0.png", fake)
        for name, drawn in ((f"{number}_mask_bbox.png_ps_mask.png", mask), (f"{number}_mask_bbox.png", 255 - mask)):
            save(root / f"masks_{split}" / "cat" / name, drawn)


LAYOUTS = {
    "folder": (make_folder, {"path": "s"}, "telea"),
    "casia": (make_casia, {"path": "s"}, "casia"),
    "imd2020": (make_imd2020, {"path": "s"}, "imd2020"),
    "defacto": (make_defacto, {"path": "s/set", "authentic": "s/coco"}, "defacto_inpainting"),
    "coco_inpaint": (make_coco_inpaint, {"path": "s"}, "sdxl"),
    "columbia": (make_columbia, {"path": "s"}, "columbia"),
    "coverage": (make_coverage, {"path": "s"}, "coverage"),
    "nist16": (make_nist16, {"path": "s"}, "nist16_removal"),
    "casia1": (make_casia1, {"path": "s"}, "casia1_sp"),
    "cocoglide": (make_cocoglide, {"path": "s"}, "glide"),
    "autosplice": (make_autosplice, {"path": "s"}, "dalle2_jpeg75"),
    "tgif": (make_tgif, {"path": "s"}, "sd2-sp"),
}
"""By layout: what makes it in a folder `s`, the keys of its section, and the inpainter of its images."""
ANY_SIZE = ("defacto", "coverage")
"""Layouts whose published masks may differ in size from their images."""


def is_mask(file, root):
    """Whether a file of a made set is a mask."""
    folders = "/".join(file.relative_to(root).parts[:-1]).lower()
    return file.is_file() and ("mask" in folders or file.stem.endswith(("_gt", "_mask")))
