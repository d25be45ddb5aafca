"""Detections of any program, rated pixel by pixel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from sweeps.api.protocols.named import find_protocol
from sweeps.cli.main import main
from sweeps.cli.programs import protocol_json
from trainables.errors import TrialError
from trainables.protocols.detections import LARGEST, AllPixels, MapFolder, TrueMasks, map_values, rates
from trainables.protocols.protocol import DetectionProtocol
from trainables.protocols.rating import rate

NAMES = [f"photograph{number}" for number in range(6)]


def benco(**maps: Any) -> DetectionProtocol:
    content = find_protocol("benco-pixels").content
    assert isinstance(content, DetectionProtocol)
    return content.model_copy(update={"maps": content.maps.model_copy(update=maps)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True masks of six photographs, the last of which is not manipulated, and maps of a good and a poor detector."""
    made = tmp_path_factory.mktemp("detections")
    rng = np.random.default_rng(0)
    for name in ("truth", "good", "poor"):
        (made / name).mkdir()
    for number, name in enumerate(NAMES):
        true_hw = np.zeros((30, 40), bool)
        true_hw[5 : 5 + 3 * number + 2, 10:25] = number < 5
        Image.fromarray(true_hw).save(made / "truth" / f"{name}.png")
        for detector, strength in (("good", 120), ("poor", 10)):
            map_hw = np.clip(rng.normal(90, 30, (30, 40)) + strength * true_hw, 0, 255).astype(np.uint8)
            Image.fromarray(map_hw).save(made / detector / f"{name}.png")
    return made


def test_values_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    for values in (256, 7):
        map_hw = (rng.integers(0, values, (20, 30)) * (LARGEST // (values - 1))).astype(np.uint16)
        true_hw = rng.random((20, 30)) < 0.3
        found, detected = map_values(map_hw, true_hw, 32_768), (map_hw >= 32_768).ravel()
        assert found["pixel_f1"] == pytest.approx(f1_score(true_hw.ravel(), detected))
        assert found["pixel_iou"] == pytest.approx(jaccard_score(true_hw.ravel(), detected))
        assert found["pixel_auc"] == pytest.approx(roc_auc_score(true_hw.ravel(), map_hw.ravel()))


def test_eight_and_sixteen_bits_are_rated_alike(folder: Path, tmp_path: Path) -> None:
    for name in NAMES:
        map_hw = np.asarray(Image.open(folder / "good" / f"{name}.png")).astype(np.uint16) * 257
        Image.fromarray(map_hw).save(tmp_path / f"{name}.png")
    sources = {"8": MapFolder(folder / "good"), "16": MapFolder(tmp_path), "all": AllPixels()}
    protocol = benco()
    found = rate(TrueMasks(protocol, folder / "truth"), sources, list(protocol.metrics), rated_one=rates(protocol))
    assert found.fills["8"] == found.fills["16"]
    shares = found.hole_fractions
    assert found.fills["all"].values["pixel_f1"] == pytest.approx([2 * share / (1 + share) for share in shares])
    assert found.fills["all"].values["pixel_auc"] == [0.5] * 5 + [0.0]


@pytest.mark.parametrize("value", [70_000, -1])
def test_maps_with_values_beyond_sixteen_bits_are_refused(folder: Path, tmp_path: Path, value: int) -> None:
    """They would wrap: 70,000 to 4,464 and -1 to 65,535."""
    shutil.copytree(folder / "good", tmp_path / "maps")
    (image, *_) = TrueMasks(benco(), folder / "truth")
    map_hw = np.full((30, 40), LARGEST, np.int32)
    wide = tmp_path / "maps" / f"{image.name}.tiff"
    (tmp_path / "maps" / f"{image.name}.png").unlink()
    Image.fromarray(map_hw).save(wide)
    assert (MapFolder(tmp_path / "maps").map(image) == LARGEST).all()
    map_hw[3, 4] = value
    Image.fromarray(map_hw).save(wide)
    with pytest.raises(TrialError, match=f"{value:,}") as raised:
        MapFolder(tmp_path / "maps").map(image)
    assert "0 to 65,535" in raised.value.allowed


def test_photographs_without_manipulation_count_as_the_protocol_says(folder: Path) -> None:
    for said, last in (("zero", 0.0), ("left_out", None)):
        protocol = benco(unmanipulated=said)
        true = TrueMasks(protocol, folder / "truth")
        found = rate(true, {"good": MapFolder(folder / "good")}, ["pixel_f1"], rated_one=rates(protocol))
        value = found.fills["good"].values["pixel_f1"][-1]
        assert value == last or (last is None and np.isnan(value))


def test_a_table_of_detections(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(folder / "good"), str(folder / "poor"), "--protocol", "benco-pixels", "--truth", str(folder / "truth")]
    assert main(["score", *given, "--json"]) == 0
    found = protocol_json.ScoreOutput.model_validate_json(capsys.readouterr().out)
    assert [row.name for row in found.fills] == ["good", "poor", "all_pixels"]
    first = next(pair for pair in found.pairs if pair.metric == "pixel_auc")
    assert (first.better, first.worse) == ("good", "poor")
    assert main(["score", *given]) == 0
    text = capsys.readouterr().out
    assert "manipulated pixels cover" in text
    assert "Without training: all_pixels" in text
    assert main(["export-protocol", "benco-pixels", "--truth", str(folder / "truth"), "--out", str(folder / "o")]) == 2


def test_the_layout_of_casia2(folder: Path, tmp_path: Path) -> None:
    content = find_protocol("casia2-pixels").content
    assert isinstance(content, DetectionProtocol)
    for name in NAMES:
        shutil.copy(folder / "truth" / f"{name}.png", tmp_path / f"{name}_gt.png")
    true = TrueMasks(content, tmp_path)
    assert true.keys == NAMES
    rate(true, {"good": MapFolder(folder / "good")}, ["pixel_f1"], rated_one=rates(content))
    with pytest.raises(TrialError, match="does not end in '_gt'"):
        TrueMasks(content, folder / "truth")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "1 of 6 are missing: photograph1"),
        (lambda file: Image.open(file).convert("RGB").save(file), "no grey image (mode RGB)"),
        (lambda file: Image.open(file).convert("LA").save(file), "no grey image (mode LA)"),
        (lambda file: Image.open(file).resize((40, 31)).save(file), "it has 40 x 31 px"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "it does not decode"),
    ],
)
def test_maps_that_cannot_be_rated_are_refused(folder: Path, tmp_path: Path, spoil: Any, why: str) -> None:
    shutil.copytree(folder / "good", tmp_path / "maps")
    spoil(tmp_path / "maps" / "photograph1.png")
    protocol = benco()
    true = TrueMasks(protocol, folder / "truth")
    with pytest.raises(TrialError) as raised:
        rate(true, {"theirs": MapFolder(tmp_path / "maps")}, ["pixel_f1"], rated_one=rates(protocol))
    assert why in str(raised.value)


def alpha(file: Path) -> None:
    """The mask as transparency of a white image, as some editors save it."""
    mask = Image.open(file).convert("L")
    white = Image.new("L", mask.size, 255)
    Image.merge("RGBA", [white, white, white, mask]).save(file)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda file: Image.fromarray(np.asarray(Image.open(file)).astype(np.uint8)).save(file),
            "0 and 1 instead of 0",
        ),
        (alpha, "it has an alpha channel, which could be the mask itself"),
        (lambda file: Image.fromarray(np.zeros((30, 40), np.uint16)).save(file), "more than 8 bits"),
        (lambda file: Image.fromarray(np.zeros((30, 40), bool)).save(file), "none of its 6 masks has a white pixel"),
    ],
)
@pytest.mark.parametrize("protocol", ["benco-pixels", "trufor-images"])
def test_true_masks_that_would_say_something_else_are_refused(
    folder: Path, tmp_path: Path, spoil: Any, why: str, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of these was once read as a set in which nothing, or everything, is manipulated."""
    shutil.copytree(folder / "truth", tmp_path / "truth")
    for file in (tmp_path / "truth").iterdir():
        spoil(file)
    scores = tmp_path / "scores.csv"
    scores.write_text("\n".join(["image,score", *(f"{name},0.5" for name in NAMES)]))
    rated = folder / "good" if protocol == "benco-pixels" else scores
    assert main(["score", str(rated), "--protocol", protocol, "--truth", str(tmp_path / "truth")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    expected = "all of its 6 photographs are authentic" if protocol == "trufor-images" and "none of" in why else why
    assert expected in said


def test_opaque_and_coloured_masks_are_read(folder: Path, tmp_path: Path) -> None:
    before = [image.hole_hw for image in TrueMasks(benco(), folder / "truth")]
    for mode in ("RGB", "RGBA", "LA", "P"):
        for name in NAMES:
            (tmp_path / mode).mkdir(exist_ok=True)
            Image.open(folder / "truth" / f"{name}.png").convert("L").convert(mode).save(
                tmp_path / mode / f"{name}.png"
            )
        read = [image.hole_hw for image in TrueMasks(benco(), tmp_path / mode)]
        assert all(np.array_equal(one, other) for one, other in zip(before, read, strict=True)), mode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_of_0_and_1_are_refused(folder: Path, tmp_path: Path, dtype: Any) -> None:
    """A detector's decisions, saved without a factor: all of them would be below the threshold."""
    for file in (folder / "good").glob("*.png"):
        Image.fromarray((np.asarray(Image.open(file)) > 127).astype(dtype)).save(tmp_path / file.name)
    with pytest.raises(TrialError, match="are 0 and 1, which are probabilities of nearly 0") as raised:
        MapFolder(tmp_path).check(NAMES)
    assert "255" in raised.value.fix
    many = [*NAMES, *(f"z{number:02d}" for number in range(60))]
    for name in many[len(NAMES) :]:
        Image.fromarray(np.ones((30, 40), dtype)).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((30, 40), 200, dtype)).save(tmp_path / f"{many[-1]}.png")
    MapFolder(tmp_path).check(many)
    for name in many[len(NAMES) :]:
        (tmp_path / f"{name}.png").unlink()
    one = tmp_path / f"{NAMES[0]}.png"
    Image.fromarray(np.full((30, 40), 200, dtype)).save(one)
    MapFolder(tmp_path).check(NAMES)
    for file in tmp_path.iterdir():
        Image.fromarray(np.zeros((30, 40), dtype)).save(file)
    MapFolder(tmp_path).check(NAMES)
    Image.fromarray(np.ones((30, 40), bool)).save(one)
    MapFolder(tmp_path).check(NAMES)
    assert (MapFolder(tmp_path).map(next(iter(TrueMasks(benco(), folder / "truth")))) == LARGEST).all()
