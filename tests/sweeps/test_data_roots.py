"""Several folders of data sets: each set is found in the first folder that has it, and errors name all folders."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.worker import worker
from sweeps import api, data_roots
from sweeps.cli import main
from sweeps.errors import SweepError
from trainables.config.data_paths import DataPath
from trainables.data.fingerprints import fingerprints
from trainables.data.image_files import path_below
from trainables.data.leaks import find_leaks
from trainables.errors import TrialError

FILL = """\
# Is a mean colour enough?
name: fill
task: inpaint
base:
  data: {name: folder, path: photographs, size: 16, train: 2, val: 2, test: 2}
  mask: {name: irregular, path: masks}
  model: {name: mean_fill}
report: {metrics: [test/psnr_db]}
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Masks in the first folder, photographs in the second; `both` in the two, with one file and with two."""
    first, second = tmp_path / "first", tmp_path / "second"
    rng = np.random.default_rng(0)
    for index in range(40):
        _save(second / "photographs" / f"{index}.png", rng.integers(0, 256, (16, 16, 3)))
    mask = np.zeros((16, 16))
    mask[4:9, 4:9] = 255
    _save(first / "masks" / "one.png", mask)
    _save(first / "both" / "a.png", mask)
    _save(second / "both" / "a.png", mask)
    _save(second / "both" / "b.png", mask)
    return first, second


def _save(file: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def test_a_set_is_in_the_first_folder_that_has_it(two: tuple[Path, Path]) -> None:
    first, second = two
    root = data_roots.path(two)
    assert root is not None
    assert root / "photographs" == second / "photographs"
    assert root / "both" == first / "both"
    assert root.joinpath("photographs", "3.png") == second / "photographs" / "3.png"
    assert sorted(entry.name for entry in root.iterdir()) == ["both", "masks", "photographs"]
    assert path_below(root, "masks", "mask.path") == first / "masks"
    assert root.is_dir()
    assert pickle.loads(pickle.dumps(root)) == root
    assert type(root / "both") is type(first)


def test_an_error_names_all_folders(two: tuple[Path, Path]) -> None:
    root = data_roots.path(two)
    assert root is not None
    assert not (root / "absent").exists()
    with pytest.raises(TrialError) as caught:
        path_below(root, "absent", "data.path")
    assert all(str(folder) in caught.value.why for folder in two)
    assert "both, masks, photographs" in caught.value.allowed


def test_folders_come_as_a_list_or_as_one_text(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    text = os.pathsep.join(map(str, two))
    for given in (two, list(map(str, two)), text, [text]):
        assert str(data_roots.path(given)) == text
        assert api.RunOptions(data=given).data_root == data_roots.path(two)
    assert data_roots.path([two[0], two[0]]) == two[0]
    assert data_roots.path(None) is None
    assert data_roots.path("") is None
    monkeypatch.setenv("SWEEPS_DATA", text)
    assert data_roots.local(None) == data_roots.path(two)
    assert data_roots.local(two[1]) == two[1]
    options = worker.WorkerOptions(store="", sweep="", run="")
    assert worker.data_root(options) == data_roots.path(two)


def test_one_folder_may_have_the_separator_in_its_name(two: tuple[Path, Path], tmp_path: Path) -> None:
    odd = tmp_path / f"a{os.pathsep}b"
    odd.mkdir()
    assert data_roots.path(str(odd)) == odd
    with pytest.raises(SweepError) as caught:
        data_roots.path([odd, two[0]])
    assert "rename the folder" in caught.value.fix


def test_the_content_of_what_is_read_is_that_of_the_first_folder(two: tuple[Path, Path]) -> None:
    found = fingerprints([DataPath("both", images=True), DataPath("photographs", images=True)], data_roots.path(two))
    assert set(found["both"].files) == {"a.png"}
    assert len(found["photographs"].files) == 40
    patterns = fingerprints([DataPath("photographs/1*.png", pattern=True)], data_roots.path(two))
    assert len(patterns["photographs/1*.png"].files) == 11


def test_leaks_are_found_across_folders(two: tuple[Path, Path]) -> None:
    first, second = two
    for folder, name, split in ((first, "one", "train"), (second, "other", "test")):
        _save(folder / name / "images" / f"{name}.png", np.random.default_rng(1).integers(0, 256, (64, 64, 3)))
        (folder / name / "labels.csv").write_text(f"file,label,split\n{name}.png,0,{split}\n")
        _save(folder / name / "images" / f"{name}-2.png", np.random.default_rng(2).integers(0, 256, (64, 64, 3)))
        _save(folder / name / "masks" / f"{name}-2.png", np.full((64, 64), 255))
        with (folder / name / "labels.csv").open("a") as file:
            file.write(f"{name}-2.png,1,{split}\n")
    for split in ("val", "test"):
        for label in (0, 1):
            pixels = np.random.default_rng([len(split), split == "val", label]).integers(0, 256, (64, 64, 3))
            _save(first / "one" / "images" / f"{split}{label}.png", pixels)
            _save(first / "one" / "masks" / f"{split}{label}.png", np.full((64, 64), 255))
            with (first / "one" / "labels.csv").open("a") as file:
                file.write(f"{split}{label}.png,{label},{split}\n")
    config = {
        "data": {"set": {"layout": "folder", "path": "one"}},
        "test_sets": {"bench": {"set": {"layout": "folder", "path": "other"}}},
    }
    root = data_roots.path(two)
    assert root is not None
    leaks = {leak.files for leak in find_leaks(config, root)}
    assert ("one/images/one.png", "other/images/other.png") in leaks


@pytest.mark.parametrize("how", ["options", "variable"])
def test_a_sweep_reads_from_two_folders(
    how: str,
    two: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, store = tmp_path / "fill.yaml", tmp_path / "store"
    file.write_text(FILL)
    given = [text for folder in two for text in ("--data", str(folder))] if how == "options" else []
    monkeypatch.setenv("SWEEPS_DATA", os.pathsep.join(map(str, two)) if how == "variable" else str(two[0]))
    run = ["run", str(file), "--store", str(store), "--address", "in-process", "--quiet"]
    assert main(["check", str(file), *given]) == 0
    assert main([*run, *given]) == 0
    capsys.readouterr()
    assert main(["status", "fill", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["check", str(file), "--data", str(two[0])]) == 2
    assert "photographs" in capsys.readouterr().err


def test_the_doctor_looks_into_every_folder(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    lost = two[0].parent / "lost"
    (two[1] / "both" / "b.png").write_bytes(b"no image")
    data = [text for folder in two for text in ("--data", str(folder))]
    main(["doctor", "--store", str(two[0].parent / "store"), *data])
    assert "b.png" in capsys.readouterr().out
    assert main(["doctor", "--store", str(two[0].parent / "store"), *data, "--data", str(lost)]) == 1
    assert f"there is no folder {lost}" in capsys.readouterr().out
