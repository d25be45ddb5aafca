"""Numbers that do not compare, replayed small: two tables look alike, and the refusal names the field that differs.

Each case is one of the reasons that the field's trackers give for numbers that nobody can reproduce: other masks
(fenglinglwb/MAT#63), other or fewer images (the same), another way to resize, another code of a metric, and for
detections what photographs without manipulated pixels count (scu-zjz/IMDLBenCo#46).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sweeps.cli.main import main
from sweeps.cli.programs import protocol_json
from sweeps.protocols import scores
from sweeps.spec.trial import digest

PROTOCOL = """\
about: A test.
paper: none
equality: own
evidence: none
images: {size: 48, fit: shorter_side, crop: centre, filter: bicubic}
masks: {name: brush, seed: 0, strokes: [1, 2], vertices: [4, 5], width: [3, 6]}
metrics: {psnr_db: 1, ssim: 1, l1: 1}
"""
MAPS = """\
about: A test.
paper: none
equality: exact
evidence: none
task: detect
maps: {threshold: 0.5, unmanipulated: zero}
metrics: {pixel_f1: 1, pixel_iou: 1}
"""
NAMES = [f"kodim{number:02d}.png" for number in range(1, 7)]


@pytest.fixture
def photographs(tmp_path: Path, data_root: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in NAMES:
        with Image.open(data_root / "kodak24" / name) as image:
            image.reduce(8).save(folder / name)
    return folder


def fewer(folder: Path) -> None:
    (folder / NAMES[-1]).unlink()


def others(folder: Path) -> None:
    """As many photographs, of which one is another one under its own name."""
    with Image.open(folder / NAMES[-1]) as image:
        image.rotate(180).save(folder / "another.png")
    (folder / NAMES[-1]).unlink()


def same_names(folder: Path) -> None:
    """Another photograph under the name of one, such as another release of the data set."""
    Image.open(folder / NAMES[-1]).rotate(180).save(folder / NAMES[-1])


def saved_again(folder: Path) -> None:
    """The same photographs as JPEG: they look the same, and another step of the way has changed them."""
    for name in NAMES:
        with Image.open(folder / name) as image:
            image.save((folder / name).with_suffix(".jpg"), quality=90)
        (folder / name).unlink()


Change = Callable[[Path], None]
SAME: Change = lambda _: None  # noqa: E731 - the same photographs
COMPLAINTS: Mapping[str, tuple[tuple[str, str], Change, tuple[str, ...]]] = {
    "masks of another width": (
        ("width: [3, 6]", "width: [8, 12]"),
        SAME,
        ("masks.width: [3,6] and [8,12]", "tested.masks"),
    ),
    "masks of another generator": (
        ("{name: brush, seed: 0, strokes: [1, 2], vertices: [4, 5], width: [3, 6]}", "{name: centre, fraction: 0.1}"),
        SAME,
        ("masks.name: brush and centre",),
    ),
    "masks drawn again": (("seed: 0", "seed: 1"), SAME, ("masks.seed: 0 and 1", "tested.masks")),
    "fewer images": (("", ""), fewer, ("tested.count: 6 and 5",)),
    "another subset": (("", ""), others, ("tested.pixels",)),
    "another release of the images": (("", ""), same_names, ("tested.pixels",)),
    "images that were saved again": (("", ""), saved_again, ("tested.pixels",)),
    "another filter to resize": (
        ("filter: bicubic", "filter: bilinear"),
        SAME,
        ("images.filter: bicubic and bilinear", "tested.pixels"),
    ),
    "another size": (("size: 48", "size: 32"), SAME, ("images.size: 48 and 32",)),
    "no resizing": (
        ("fit: shorter_side, crop: centre, filter: bicubic", "fit: pad, crop: centre, filter: none"),
        SAME,
        ("images.fit: shorter_side and pad",),
    ),
    "another metric": (("l1: 1", "l1_hole: 1"), SAME, ("metrics.l1: 1 and nothing",)),
}


def rated(
    photographs: Path, protocol: str, place: Path, capsys: pytest.CaptureFixture[str], masks: Path | None = None
) -> Path:
    """The scores of one program's fills of these photographs, as `sweeps score` writes them. masks: of a mask set."""
    place.mkdir()
    (place / "it.yaml").write_text(protocol)
    given: tuple[str, ...] = ("--protocol", str(place / "it.yaml"), "--truth", str(photographs))
    given += ("--masks", str(masks)) if masks else ()
    assert main(["export-protocol", *given[1:], "--out", str(place / "task")]) == 0
    (place / "theirs").mkdir()
    for file in (place / "task" / "damaged").glob("*.png"):
        damaged, mask = cv2.imread(str(file)), cv2.imread(str(place / "task" / "masks" / file.name), 0)
        assert damaged is not None
        assert mask is not None
        cv2.imwrite(str(place / "theirs" / file.name), cv2.inpaint(damaged, mask, 3, cv2.INPAINT_NS))
    assert main(["score", str(place / "theirs"), *given, "--out", str(place / "it.json")]) == 0
    capsys.readouterr()
    return place / "it.json"


def look_alike(one: Path, other: Path) -> bool:
    """Whether two tables have the same rows and columns with plausible numbers: nothing tells what differs."""
    found = [scores.read(file) for file in (one, other)]
    return [fill.name for fill in found[0].fills] == [fill.name for fill in found[1].fills] and all(
        np.isfinite(np.array(column, float)).any() for each in found for column in each.fills[0].runs[0].values.values()
    )


def refused(one: Path, other: Path, fields: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Both `compare` and its JSON refuse; `--mix` compares, and says so with the same fields."""
    assert main(["compare", str(one), str(other), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert all(error[part] for part in ("given", "why", "allowed", "fix"))
    for field in fields:
        assert field in error["why"], error["why"]
    assert main(["compare", str(one), str(other), "--mix", "--json"]) == 0
    mixed = protocol_json.ScoreOutput.model_validate_json(capsys.readouterr().out)
    note = next(note for note in mixed.notes if "NOT COMPARABLE" in note)
    assert mixed.mixed
    assert all(field in note for field in fields), note


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_a_complaint_about_fills(
    complaint: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced, change, fields = COMPLAINTS[complaint]
    ours = rated(photographs, PROTOCOL, tmp_path / "ours", capsys)
    change(photographs)
    theirs = rated(photographs, PROTOCOL.replace(*replaced) if replaced[0] else PROTOCOL, tmp_path / "theirs", capsys)
    assert look_alike(ours, theirs)
    refused(ours, theirs, fields, capsys)


@pytest.mark.parametrize("kept", ["as many masks", "other names"])
def test_a_complaint_about_the_version_of_a_mask_set(
    kept: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many mask files as published, of which one differs, or whose order differs: every photograph has a mask."""
    protocol = PROTOCOL.replace(PROTOCOL.splitlines()[5], "masks: {name: files, files: 3, hole: black}")
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(3):
        known_hw = np.ones((48, 48), bool)
        known_hw[10 : 20 + 6 * number, 10:30] = False
        Image.fromarray(known_hw).save(masks / f"{number}.png")
    ours = rated(photographs, protocol, tmp_path / "ours", capsys, masks)
    if kept == "as many masks":
        Image.fromarray(~np.eye(48, dtype=bool)).save(masks / "2.png")
    else:
        (masks / "0.png").rename(masks / "3.png")
    theirs = rated(photographs, protocol, tmp_path / "theirs", capsys, masks)
    assert look_alike(ours, theirs)
    refused(ours, theirs, ("tested.masks",), capsys)
    (masks / "1.png").unlink()
    given = ("--protocol", str(tmp_path / "ours" / "it.yaml"), "--truth", str(photographs), "--masks", str(masks))
    assert main(["score", str(tmp_path / "ours" / "theirs"), *given]) == 2
    assert "it has 2 masks; the published set has 3" in capsys.readouterr().err


def test_nothing_is_refused_that_is_the_same(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other way round: a comment, and other names of the protocol and of its folders, differ in nothing."""
    ours = rated(photographs, PROTOCOL, tmp_path / "ours", capsys)
    theirs = rated(photographs, PROTOCOL.replace("A test.", "The same, told otherwise."), tmp_path / "more", capsys)
    document = json.loads(theirs.read_text())
    document["fills"][0]["name"] = "others"
    written(document, theirs)
    assert main(["compare", str(ours), str(theirs), "--json"]) == 0
    found = protocol_json.ScoreOutput.model_validate_json(capsys.readouterr().out)
    assert not found.mixed
    assert {"theirs", "others"} <= {fill.name for fill in found.fills}


def written(document: dict[str, Any], file: Path) -> None:
    """Write scores with their checksum, as another version of this package would have."""
    document.pop("checksum", None)
    file.write_text(json.dumps({**document, "checksum": digest(document)}))


def test_a_complaint_about_the_code_of_a_metric(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores that a later version wrote, whose SSIM has other values; this version has no such metric to rate by."""
    ours = rated(photographs, PROTOCOL, tmp_path / "ours", capsys)
    document = json.loads(ours.read_text())
    document["evaluation"]["metrics"]["ssim"] = 2
    theirs = tmp_path / "theirs.json"
    written(document, theirs)
    assert look_alike(ours, theirs)
    refused(ours, theirs, ("metrics.ssim: 1 and 2",), capsys)
    (tmp_path / "later.yaml").write_text(PROTOCOL.replace("ssim: 1", "ssim: 2"))
    given = ("--protocol", str(tmp_path / "later.yaml"), "--truth", str(photographs))
    assert main(["score", str(tmp_path / "ours" / "theirs"), *given]) == 2
    assert "the installed code has version 1 of ssim, not 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replaced", "field"),
    [
        (("unmanipulated: zero", "unmanipulated: left_out"), "maps.unmanipulated: zero and left_out"),
        (("threshold: 0.5", "threshold: 0.3"), "maps.threshold: 0.5 and 0.3"),
        (("pixel_iou: 1", "pixel_auc: 1"), "metrics.pixel_iou: 1 and nothing"),
        (("", ""), "tested.masks"),
    ],
)
def test_a_complaint_about_detections(
    replaced: tuple[str, str], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name in ("maps", "truth"):
        (tmp_path / name).mkdir()
    for number in range(6):
        true_hw = np.zeros((16, 16), bool)
        true_hw[:8, : 2 * number] = True  # the first photograph is not manipulated
        Image.fromarray(true_hw).save(tmp_path / "truth" / f"{number}.png")
        map_hw = np.clip(random.normal(80 + 100 * true_hw, 40), 0, 255).astype(np.uint8)
        Image.fromarray(map_hw).save(tmp_path / "maps" / f"{number}.png")
    files = []
    for number, text in enumerate((MAPS, MAPS.replace(*replaced) if replaced[0] else MAPS)):
        (tmp_path / f"{number}.yaml").write_text(text)
        if number and not replaced[0]:  # corrected masks of the same photographs, as CASIA has
            Image.fromarray(np.ones((16, 16), bool)).save(tmp_path / "truth" / "5.png")
        given = ("--protocol", str(tmp_path / f"{number}.yaml"), "--truth", str(tmp_path / "truth"))
        files.append(tmp_path / f"{number}.json")
        assert main(["score", str(tmp_path / "maps"), *given, "--out", str(files[-1])]) == 0
        capsys.readouterr()
    assert look_alike(*files)
    refused(*files, (field,), capsys)
