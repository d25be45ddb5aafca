"""The files of protocols: strict, each with a hash that changes with whatever decides the numbers, and only then."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeps.api.protocols.named import find_protocol
from sweeps.errors import SweepError
from sweeps.protocols import files, identity
from trainables.errors import TrialError
from trainables.inpaint.evaluation.metrics import per_image
from trainables.protocols.detections import map_values
from trainables.protocols.protocol import DETECTION_METRICS, METRICS, resolve

HASHES = {
    "benco-pixels": "4efb8e34e4df3406",
    "casia2-pixels": "cb5afa6ca4ee4e63",
    "centre-quarter": "81d381484928546d",
    "deepfill-freeform": "93f3aa5f299479a2",
    "inpainted-images": "23da9edd22832e71",
    "lama-medium-256": "09412ec56484ec9f",
    "lama-medium-512": "27a539e0b4bcc57b",
    "lama-thick-256": "3e244c842c3cc9f0",
    "lama-thick-512": "e0f2e82f8df24c4d",
    "lama-thin-256": "973f278faa6a949c",
    "lama-thin-512": "38d02d58549617db",
    "lines-32": "4c8a60c21ac55109",
    "mat-large-256": "7110be11438ee8c3",
    "mat-large-512": "ccb1ea5c4e4c9ebb",
    "mat-small-256": "41ab30fb6e777626",
    "mat-small-512": "b55bb3a01cb82440",
    "pconv-6": "040dfe1add54b13e",
    "random-blocks-128": "c7fde0467046b8c2",
    "random-regions-128": "d1e88ab0ecbd8ca6",
    "tgif-pixels": "4c8599be49745c24",
    "trufor-images": "a1248f5cdab0eaaa",
}
"""Published numbers stand beside these: a protocol that changes gets a new name."""
VALUES = {
    "psnr_db": 20.9701,
    "psnr_db_hole": 14.9495,
    "l1": 0.03727552,
    "l1_hole": 0.1491021,
    "l1_seam": 0.1466019,
    "l2": 0.007998153,
    "ssim": 0.9551311,
}
"""What version 1 of each metric gives for `test_the_version_of_a_metric_stands_for_its_values`."""


def test_the_hash_of_a_shipped_protocol_is_frozen() -> None:
    assert {name: find_protocol(name).hash for name in files.names()} == HASHES


def test_the_version_of_a_metric_stands_for_its_values() -> None:
    """If a value changes, raise the version of the metric in METRICS, and give the protocols that use it new names."""
    generator = torch.Generator().manual_seed(0)
    image_b3hw, noise_b3hw = (torch.rand(1, 3, 32, 32, generator=generator) for _ in range(2))
    mask_b1hw = torch.zeros(1, 1, 32, 32)
    mask_b1hw[..., 8:24, 4:20] = 1
    found = per_image(image_b3hw + 0.7 * (noise_b3hw - 0.5), image_b3hw, mask_b1hw)
    assert set(VALUES) == set(METRICS)
    assert {name: found[name].item() for name in METRICS} == pytest.approx(VALUES, rel=1e-5)


def test_the_version_of_a_detection_metric_stands_for_its_values() -> None:
    map_hw = np.array([[0, 100, 40_000], [65_535, 40_000, 0]], np.uint16)
    true_hw = np.array([[False, False, True], [True, False, True]])
    found = map_values(map_hw, true_hw, 32_768)
    assert set(found) == set(DETECTION_METRICS)
    assert found["pixel_f1"] == 2 * 2 / (3 + 3)
    assert found["pixel_iou"] == 2 / 4
    assert found["pixel_auc"] == (2.5 + 3 + 0.5) / 9, "ties count half"


def test_a_hash_ignores_what_decides_no_number() -> None:
    _, value = files.read("lama-thin-256")
    before = identity.evaluation_hash(resolve(value).evaluation())
    assert identity.evaluation_hash(resolve({**value, "paper": "another", "lacks": []}).evaluation()) == before
    spelled = copy.deepcopy(value)
    spelled["masks"]["variants"] = 5  # the default, written out
    assert identity.evaluation_hash(resolve(spelled).evaluation()) == before
    spelled["masks"]["variants"] = 4
    assert identity.evaluation_hash(resolve(spelled).evaluation()) != before


def test_differences_name_the_fields() -> None:
    thin, thick, other = (
        find_protocol(name).content.evaluation() for name in ("lama-thin-256", "lama-thick-256", "pconv-6")
    )
    assert identity.differences(thin, thin) == []
    found = identity.differences(thin, thick)
    assert found[:3] == [
        "masks.strokes.count: [4,50] and [1,5]",
        "masks.strokes.length: 40 and 200",
        "masks.strokes.width: 10 and 100",
    ]
    assert "masks.name: lama and files" in identity.differences(thin, other)
    assert not any("strokes" in one for one in identity.differences(thin, other)), "options of other generators"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imagess": {}}, "imagess"),
        ({"masks": {"name": "lamma"}}, "lama"),
        ({"masks": {"name": "lama", "seed": 0}}, "strokes"),
        ({"metrics": {"psnr": 1}}, "there is no metric 'psnr'"),
        ({"metrics": {"psnr_db": 2}}, "version 1 of psnr_db, not 2"),
        ({"metrics": {}}, "at least 1"),
        ({"task": "detect"}, "images"),
        ({"images": {"size": 256, "fit": "pad", "crop": "with_hole", "filter": "bicubic"}}, "does not resize"),
        ({"images": {"size": 256, "fit": "shorter_side", "crop": "centre", "filter": "bicubic"}}, "with_hole"),
    ],
)
def test_a_wrong_file_is_refused(changes: dict[str, Any], words: str) -> None:
    _, value = files.read("lama-thin-256")
    with pytest.raises(TrialError) as raised:
        resolve({**value, **changes})
    assert words in str(raised.value)


def test_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(SweepError) as raised:
        find_protocol("lama-thin")
    assert "lama-thin-256" in str(raised.value)
    file = tmp_path / "mine.yaml"
    file.write_text((files.FOLDER / "mat-small-256.yaml").read_text().replace("seed: 0", "seed: 7"))
    mine = find_protocol(file)
    assert mine.name == "mine"
    assert identity.differences(find_protocol("mat-small-256").content.evaluation(), mine.content.evaluation()) == [
        "masks.seed: 0 and 7"
    ]
    with pytest.raises(SweepError):
        find_protocol(tmp_path / "gone.yaml")
