"""`sweeps export-protocol`, `score` and `compare` of scores, from the command line, on photographs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sweeps.cli.main import main
from sweeps.cli.programs import protocol_json, result_json
from sweeps.errors import SweepError
from sweeps.protocols import scores
from sweeps.spec.trial import digest

THIN = """\
about: A test.
paper: none
equality: own
evidence: none
images: {size: 48, fit: shorter_side, crop: centre, filter: bicubic}
masks: {name: brush, seed: 0, strokes: [1, 2], vertices: [4, 5], width: [3, 6]}
metrics: {psnr_db: 1, ssim: 1, l1: 1}
"""
THICK = THIN.replace("width: [3, 6]", "width: [8, 12]")
Said = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """Eight photographs, two protocols, the images of the first, and its fills by Navier-Stokes in three seeds."""
    made = tmp_path_factory.mktemp("scoring")
    (made / "photographs").mkdir()
    for number in range(1, 9):
        name = f"kodim{number:02d}.png"
        with Image.open(data_root / "kodak24" / name) as image:
            image.resize((image.width // 8, image.height // 8)).save(made / "photographs" / name)
    (made / "thin.yaml").write_text(THIN)
    (made / "thick.yaml").write_text(THICK)
    for name in ("thin", "thick"):
        given = (str(made / f"{name}.yaml"), "--truth", str(made / "photographs"))
        assert main(["export-protocol", *given, "--out", str(made / name)]) == 0
    fill(made / "thin", made / "fills" / "ns")
    for seed in range(3):
        fill(made / "thin", made / "fills" / f"noisy{seed}", seed)
    return made


def fill(task: Path, out: Path, seed: int | None = None) -> None:
    """Fill images by Navier-Stokes; with a seed, add noise everywhere, like a program that does not composite."""
    out.mkdir(parents=True)
    for file in sorted((task / "damaged").glob("*.png")):
        damaged, mask = cv2.imread(str(file)), cv2.imread(str(task / "masks" / file.name), cv2.IMREAD_GRAYSCALE)
        assert damaged is not None
        assert mask is not None
        filled: Any = cv2.inpaint(damaged, mask, 3, cv2.INPAINT_NS)
        if seed is not None:
            noise = np.random.default_rng([seed, *file.name.encode()]).integers(-9, 10, filled.shape)
            filled = np.clip(filled.astype(int) + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(out / file.name), filled)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Run a verb in the folder of the fixture; returns what it printed, errors included."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == code
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


SCORE = ("score", "fills/ns", "--protocol", "thin.yaml", "--truth")


def test_fills_are_rated_from_photographs_and_from_exported_images_alike(said: Said, tmp_path: Path) -> None:
    fills = ["fills/ns", *(f"noisy=fills/noisy{seed}" for seed in range(3))]
    score = ("score", *fills, *SCORE[2:])
    text = said(*score, "photographs", "--out", tmp_path / "a.json")
    for word in ("noisy (3 seeds)", "telea", "95 % intervals over seeds", "8 images; holes cover", "hash "):
        assert word in text
    said(*score, "thin", "--out", tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    found = protocol_json.ScoreOutput.model_validate_json(said(*score, "thin", "--json"))
    rows = {row.name: row for row in found.fills}
    assert list(rows) == ["ns", "noisy", "mean_fill", "onion_peel", "telea"]
    assert (rows["ns"].changed_px, rows["noisy"].changed_images, rows["noisy"].largest_change) == (0, 24, 9)
    over_images, over_seeds = rows["noisy"].values["psnr_db"], rows["noisy"].over_seeds["psnr_db"]
    assert over_images
    assert over_seeds
    assert over_images.mean == pytest.approx(over_seeds.mean)
    assert (over_images.n, over_seeds.n, rows["ns"].over_seeds) == (8, 3, {})
    ns, mean_fill = rows["ns"].values["psnr_db"], rows["mean_fill"].values["psnr_db"]
    assert ns
    assert mean_fill
    assert ns.mean > mean_fill.mean + 1
    assert {(pair.better, pair.worse) for pair in found.pairs if pair.metric == "psnr_db"} >= {("ns", "noisy")}
    assert found.hash == protocol_json.ScoreOutput.model_validate_json(said(*SCORE, "photographs", "--json")).hash


def test_the_images_of_an_exported_folder_are_no_photographs(said: Said) -> None:
    answer = said(*SCORE, "thin/images", code=2)
    assert "it is a part of the exported folder" in answer
    assert "--truth thin\n" in answer


def test_values_equal_those_of_another_implementation(said: Said, folder: Path) -> None:
    found = protocol_json.ScoreOutput.model_validate_json(said(*SCORE, "thin", "--json"))
    psnr, l1 = [], []
    for file in sorted((folder / "fills" / "ns").glob("*.png")):
        fill, truth = (
            np.asarray(Image.open(path).convert("RGB"), float) for path in (file, folder / "thin/images" / file.name)
        )
        psnr.append(10 * np.log10(255**2 / np.mean((fill - truth) ** 2)))
        l1.append(np.mean(np.abs(fill - truth)) / 255)
    values = found.fills[0].values
    assert values["psnr_db"]
    assert values["l1"]
    assert values["psnr_db"].mean == pytest.approx(np.mean(psnr), rel=1e-6)
    assert values["l1"].mean == pytest.approx(np.mean(l1), rel=1e-6)


def test_two_protocols_that_look_alike_are_not_compared(said: Said, tmp_path: Path) -> None:
    """Complaints such as fenglinglwb/MAT#63: the same fills, two tables, and nothing tells that the masks differ.

    The fills are the same files under the same names, and both tables look fine; their means differ by decibels.
    """
    thin, thick = tmp_path / "thin.json", tmp_path / "thick.json"
    said("score", "theirs=fills/ns", "--protocol", "thin.yaml", "--truth", "photographs", "--out", thin)
    said("score", "theirs=fills/ns", "--protocol", "thick.yaml", "--truth", "photographs", "--out", thick)
    refused = said("compare", thin, thick, code=2)
    assert "masks.width: [3,6] and [8,12]" in refused
    assert "--mix" in refused
    assert "tested.masks" in refused, "the masks themselves are other ones"
    mixed = said("compare", thin, thick, "--mix")
    assert f"theirs ({thin})" in mixed
    assert mixed.count("NOT COMPARABLE") == 1
    assert "masks.width: [3,6] and [8,12]" in mixed
    assert "Protocol thin" not in mixed, "a mixed table has no protocol"
    found = protocol_json.ScoreOutput.model_validate_json(said("compare", thin, thick, "--mix", "--json"))
    assert (found.mixed, found.images) == (True, 8)
    assert {found.protocol, found.hash, found.images_checksum, found.masks_checksum, found.hole_fraction} == {None}
    assert found.evaluation is None


def test_scores_of_one_protocol_are_compared(said: Said, tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    said(*SCORE, "thin", "--out", one)
    said("score", "noisy=fills/noisy0", "--protocol", "thin.yaml", "--truth", "photographs", "--out", two)
    found = protocol_json.ScoreOutput.model_validate_json(said("compare", one, two, "--json"))
    assert [row.name for row in found.fills] == ["ns", "noisy", "mean_fill", "onion_peel", "telea"]
    assert any((pair.better, pair.worse, pair.differs) == ("ns", "noisy", True) for pair in found.pairs)
    assert "given twice" in said("compare", one, tmp_path / "." / "one.json", code=2)
    assert "two files" in said("compare", one, code=2)
    assert "two files" in said("compare", one, "a-sweep", code=2)
    missing = said("compare", one, tmp_path / "none.json", code=2)
    assert "there is no such file" in missing
    assert "one.json" in missing, "what is there"
    assert "Errno" not in missing


def test_other_photographs_under_the_same_names_are_not_compared(said: Said, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "photographs"
    shutil.copytree(folder / "photographs", other)
    Image.open(other / "kodim05.png").rotate(180).save(other / "kodim05.png")
    said(*SCORE, "photographs", "--out", tmp_path / "a.json")
    said(*SCORE, other, "--out", tmp_path / "b.json")
    assert "tested.pixels" in said("compare", tmp_path / "a.json", tmp_path / "b.json", code=2)


def test_latex_has_the_hash(said: Said) -> None:
    text = said(*SCORE, "thin", "--latex")
    assert "\\begin{tabular}" in text
    assert protocol_json.ScoreOutput.model_validate_json(said(*SCORE, "thin", "--json")).hash in text


# --- what cannot be used ----------------------------------------------------------------------------------------------


def test_an_edited_protocol_is_refused_for_exported_images(said: Said, tmp_path: Path) -> None:
    edited = tmp_path / "thin.yaml"
    edited.write_text(THIN.replace("seed: 0", "seed: 1"))
    refused = said("score", "fills/ns", "--protocol", edited, "--truth", "thin", code=2)
    assert "masks.seed: 0 and 1" in refused
    edited.write_text(THIN.replace("about: A test.", "about: Another sentence, which decides no number."))
    said("score", "fills/ns", "--protocol", edited, "--truth", "thin")


@pytest.mark.parametrize("kind", ["masks", "images"])
def test_an_edited_mask_or_image_is_refused_by_name(said: Said, folder: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(folder / "thin", tmp_path / "thin")
    file = tmp_path / "thin" / kind / "kodim04.png"
    Image.open(file).rotate(180).save(file)
    refused = said(*SCORE, tmp_path / "thin", code=2)
    assert str(file) in refused
    assert "changed after it was exported" in refused


def test_an_edited_index_is_refused(said: Said, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "thin", tmp_path / "thin")
    index = tmp_path / "thin" / "protocol.json"
    index.write_text(index.read_text().replace('"size": 48', '"size": 64'))
    assert "it was edited" in said(*SCORE, tmp_path / "thin", code=2)
    refused = {
        "{}": "name: Field required",
        "[]": "valid dictionary",
        "{": "cannot be read",
        "[" * 9**5: "cannot be read",
    }
    for text, why in refused.items():
        index.write_text(text)
        assert why in said(*SCORE, tmp_path / "thin", code=2)


@pytest.mark.parametrize("key", ["../../x", "/etc/x", "a/../../x", "", "."])
def test_keys_of_an_export_stay_below_its_folder(said: Said, folder: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(folder / "thin", tmp_path / "thin")
    index = tmp_path / "thin" / "protocol.json"
    content = json.loads(index.read_text())
    content["checksums"] = {key: ["0", "0"]}
    index.write_text(json.dumps(content))
    assert "is no path below the folder" in said(*SCORE, tmp_path / "thin", code=2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"checksums": {}}, "checksums"),
        ({"checksums": {"kodim01": ["0"]}}, "checksums.kodim01"),
        ({"checksums": {"kodim01": "00"}}, "checksums.kodim01"),
        ({"grouped": True}, "has no group"),
        ({"evaluation": []}, "evaluation"),
        ({"evaluation": {"size": float("nan")}}, "it was edited"),
        ({"other": 1}, "other"),
    ],
)
def test_a_damaged_index_of_an_export_is_refused(
    said: Said, folder: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    shutil.copytree(folder / "thin", tmp_path / "thin")
    index = tmp_path / "thin" / "protocol.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **changes}))
    error = json.loads(said(*SCORE, tmp_path / "thin", "--json", code=2))["error"]
    assert why in error["why"]
    assert str(index) in error["given"]


def change(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = document
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("names", [], "names"),
        ("groups", [""] * 7, "groups has 7 values, and there are 8 images"),
        ("hole_fractions", [0.5] * 9, "hole_fractions has 9 values"),
        ("hole_fractions", [float("nan")] * 8, "finite"),
        ("tested.count", 7, "tested.count"),
        ("evaluation", {}, "has no metrics"),
        ("evaluation", {"metrics": []}, "has no metrics"),
        ("evaluation", [], "evaluation"),
        ("evaluation.images", {"size": float("inf")}, "JSON compliant"),
        ("fills", [], "fills"),
        ("fills.1.name", "ns", "the same name"),
        ("fills.0.runs", [], "fills.0.runs"),
        ("fills.0.runs.0.values", {"psnr_db": [1.0] * 8}, "other metrics"),
        ("fills.0.runs.0.values.l1", [1.0], "l1 of 'ns' has 1 values"),
        ("fills.0.runs.0.changed_px", [], "changed_px of 'ns'"),
    ],
)
def test_scores_whose_parts_do_not_fit_are_refused(
    said: Said, tmp_path: Path, path: str, value: Any, why: str, good_scores: str
) -> None:
    """Other programs write scores, too: their checksum fits, but not their content."""
    document = json.loads(good_scores)
    del document["checksum"]
    change(document, path, value)
    (tmp_path / "a.json").write_text(json.dumps({**document, "checksum": _checksum(document)}))
    (tmp_path / "b.json").write_text(good_scores)
    error = json.loads(said("compare", tmp_path / "b.json", tmp_path / "a.json", "--json", code=2))["error"]
    assert why in error["why"]
    assert error["given"] == str(tmp_path / "a.json")


def _checksum(document: dict[str, Any]) -> str:
    try:
        return digest(document)
    except ValueError:
        return "0"


@pytest.fixture(scope="module")
def good_scores(folder: Path) -> str:
    """The text of a file of scores."""
    given = ("--protocol", str(folder / "thin.yaml"), "--truth", str(folder / "thin"))
    assert main(["score", str(folder / "fills" / "ns"), *given, "--out", str(folder / "good.json")]) == 0
    return (folder / "good.json").read_text()


def test_edited_scores_are_refused(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    said(*SCORE, "thin", "--out", file)
    document = json.loads(file.read_text())
    document["fills"][0]["runs"][0]["values"]["psnr_db"][0] += 1
    file.write_text(json.dumps(document))
    with pytest.raises(SweepError, match="changed after it was written"):
        scores.read(file)
    for text in ("[]", "{}", "[" * 9**5, "\\xff"):
        file.write_text(text)
        with pytest.raises(SweepError, match="it holds no scores"):
            scores.read(file)
    assert "it holds no scores" in said("compare", file, tmp_path / "b.json", code=2)


def test_arguments_that_do_not_fit(said: Said, tmp_path: Path) -> None:
    assert "lama-thin-256" in said("score", "fills/ns", "--protocol", "lama_thin", "--truth", "thin", code=2)
    assert "another folder is called 'ns'" in said("score", "fills/ns", *SCORE[1:], "thin", code=2)
    assert "in every table" in said("score", "telea=fills/ns", *SCORE[2:], "thin", code=2)
    assert "no --masks" in said("score", "fills/ns", "--protocol", "pconv-6", "--truth", "photographs", code=2)
    assert "not read from files" in said(*SCORE, "photographs", "--masks", "thin/masks", code=2)
    export = ("export-protocol", "thin.yaml", "--truth", "photographs", "--out")
    assert "ends in .json" in said(*SCORE, "thin", "--out", tmp_path / "a.txt", code=2)
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in said(*SCORE, "thin", "--out", tmp_path / "file" / "a.json", code=2)
    assert "it is not empty" in said(*export, "thin", code=2)
    assert "it has no images" in said(*export[:3], tmp_path, "--out", tmp_path / "out", code=2)
    error = json.loads(said("score", "fills/gone", *SCORE[2:], "thin", "--json", code=2))["error"]
    assert all(error.values())


def test_folders_may_stand_after_and_between_options(said: Said) -> None:
    first, second = "fills/ns", "noisy=fills/noisy0"
    options = ("--protocol", "thin.yaml", "--truth", "thin")
    expected = said("score", first, second, *options)
    assert said("score", *options, first, second) == expected
    assert said("score", first, *options, second) == expected
    assert said("score", *options[:2], first, *options[2:], second) == expected


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("part", ["damaged", "masks", "inverted"])
def test_folders_that_were_swapped_are_noticed_at_once(
    said: Said, folder: Path, tmp_path: Path, part: str, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of the exported folder, copies of them under another name, and masks whose holes are black."""
    monkeypatch.setattr("trainables.protocols.rating.rate", None)  # nothing is rated
    given = folder / "thin" / part
    if copied or part == "inverted":
        given = tmp_path / part
        given.mkdir()
        for file in (folder / "thin" / ("masks" if part == "inverted" else part)).glob("*.png"):
            pixels = np.asarray(Image.open(file))
            Image.fromarray(255 - pixels if part == "inverted" else pixels).save(given / file.name)
    error = said("score", "fills/ns", given, "--protocol", "thin.yaml", "--truth", "thin", code=2)
    named = "it has the masks" if part == "inverted" else f"it has the {part}" if copied else f"folder of the {part}"
    assert f"fills {given}" in error
    assert named in error


def test_the_true_masks_are_no_detections(said: Said, folder: Path) -> None:
    masks = folder / "thin" / "masks"
    assert "this is the folder of the true masks" in said(
        "score", masks, "--protocol", "benco-pixels", "--truth", masks, code=2
    )


def test_clashing_names_are_refused_before_anything_is_rated(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.protocols.rating.rate", None)
    options = ("--protocol", "thin.yaml", "--truth", "thin")
    assert "a method without training" in said("score", "telea=fills/ns", *options, code=2)
    for given in (("fills/ns", "ns=fills/noisy0"), ("ns=fills/noisy0", "fills/ns")):
        assert "another folder is called 'ns' too" in said("score", *given, *options, code=2)


def test_a_folder_whose_path_has_an_equals_sign_needs_no_name(said: Said, folder: Path) -> None:
    shutil.copytree(folder / "fills" / "ns", folder / "runs" / "lr=0.1" / "ns")
    for given, name in (("runs/lr=0.1/ns", "ns"), ("mine=runs/lr=0.1/ns", "mine")):
        found = protocol_json.ScoreOutput.model_validate_json(said("score", given, *SCORE[2:], "thin", "--json"))
        assert found.fills[0].name == name


def test_scores_are_written_whole_or_not_at_all(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    said(*SCORE, "thin", "--out", file)
    before, found = file.read_bytes(), scores.read(file)

    def full(path: Path, text: str, **_: object) -> int:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        scores.write(found, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_the_list_of_protocols(said: Said) -> None:
    listed = protocol_json.ProtocolsOutput.model_validate_json(said("protocols", "--json")).protocols
    text = said("protocols")
    assert all(one.name in text and one.hash in text for one in listed)
    assert "lacks: fid, lpips" in said("describe", "lama-thin-256")


def test_masks_of_published_files_give_a_table_by_the_size_of_the_hole(
    said: Said, folder: Path, data_root: Path, tmp_path: Path
) -> None:
    """Two photographs with one of Liu et al.'s masks of each of six sizes, as in `pconv-6`, reduced to 64 px."""
    (tmp_path / "masks").mkdir()
    (tmp_path / "photographs").mkdir()
    for number in range(480, 12_000, 1_000):
        with Image.open(data_root / "nvidia_irregular_masks/testing_mask_dataset" / f"{number:05d}.png") as image:
            image.resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "masks" / f"{number:05d}.png")
    for name in ("kodim01.png", "kodim02.png"):
        shutil.copy(folder / "photographs" / name, tmp_path / "photographs")
    protocol = tmp_path / "six.yaml"
    masks = "{name: files, files: 12, shares: [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], border: 5}"
    protocol.write_text(
        THIN.replace("size: 48", "size: 64").replace(THIN.splitlines()[5], f"masks: {masks}").replace("own", "files")
    )
    given = (protocol, "--truth", tmp_path / "photographs", "--masks", tmp_path / "masks")
    said("export-protocol", *given, "--out", tmp_path / "task")
    shutil.copytree(tmp_path / "task" / "images", tmp_path / "perfect")
    score = ("score", tmp_path / "perfect", "--protocol", *given)
    found = protocol_json.ScoreOutput.model_validate_json(said(*score, "--json"))
    by_group = found.fills[0].by_group
    assert list(by_group) == [
        f"{s}{b}" for s in ("01-10", "10-20", "20-30", "30-40", "40-50", "50-60") for b in ("", "-border")
    ]
    assert (found.images, found.fills[0].values["psnr_db"], found.hole_fraction > 0.25) == (
        24,
        result_json.IntervalOutput(
            mean=100.0, sd=0.0, low=100.0, high=100.0, n=2
        ),  # clustered: 2 photographs, not 24 images
        True,
    )
    assert "50-60-border" in said(*score)
    (tmp_path / "masks" / "00480.png").unlink()
    assert "it has 11 masks; the published set has 12" in said(*score, code=2)
