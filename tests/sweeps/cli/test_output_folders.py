"""The results of another program as an arm: a folder for each seed, one row in a grid, and called what they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from analysis import studies
from sweeps.cli.common import DONE, USER_ERROR
from sweeps.cli.main import main
from sweeps.spec import expand, loader
from sweeps.store.local import FolderStore
from trainables import schema

SWEEP = """\
# Is theirs better?
name: theirs
task: inpaint
base:
  data: {name: cifar10, train: 8, val: 4, test: 6}
  mask: {name: centre, fraction: 0.5}
  model: {name: mean_fill}
arms:
  - {name: peel, set: {model: {name: onion_peel}}}
seeds: 2
report: {metrics: [test/psnr_db]}
"""
Command = Callable[..., int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "theirs.yaml").write_text(SWEEP)
    return tmp_path / "theirs.yaml"


@pytest.fixture
def command(tmp_path: Path, data_root: Path) -> Command:
    def run(verb: str, *arguments: object) -> int:
        where = [] if verb == "check" else ["--store", str(tmp_path / "store")]
        where += ["--data", str(data_root)] if verb in ("run", "export-test") else []
        where += ["--address", "in-process", "--quiet"] if verb == "run" else []
        return main([verb, *map(str, arguments), *where])

    return run


def with_outputs(file: Path, outputs: str) -> None:
    file.write_text(SWEEP.replace("arms:\n", f"arms:\n  - {{name: another's, outputs: {outputs}}}\n"))


@pytest.fixture
def folders(file: Path, command: Command, tmp_path: Path, data_root: Path) -> list[Path]:
    """Two folders of almost right images, one a little darker than the other."""
    from trainables.data import images

    assert command("run", file) == DONE
    assert command("export-test", "theirs", "--out", tmp_path / "test") == DONE
    truth_n3hw = images.load({"name": "cifar10", "train": 8, "val": 4, "test": 6}, data_root).test
    damaged = sorted((tmp_path / "test" / "damaged").iterdir())
    by_border = {truth_3hw[:, :3].numpy().tobytes(): truth_3hw for truth_3hw in truth_n3hw}
    made = []
    for seed, darker in enumerate((0.95, 0.9)):
        made.append(tmp_path / f"seed{seed}")
        made[-1].mkdir()
        for name in damaged:
            with Image.open(name) as image:
                import numpy as np

                border = np.asarray(image.convert("RGB")).transpose(2, 0, 1)[:, :3].tobytes()
            whole = Image.fromarray(by_border[border].permute(1, 2, 0).numpy())
            ImageEnhance.Brightness(whole).enhance(darker).save(made[-1] / name.name)
    return made


def test_a_folder_for_each_seed_varies_between_seeds_and_is_called_what_it_is(
    file: Path, folders: list[Path], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_outputs(file, f"{{0: {folders[0]}, 1: {folders[1]}}}")
    assert command("run", file) == DONE
    read = studies.read(FolderStore(tmp_path / "store"), "theirs")
    values = read.values("another's", "test/psnr_db")
    assert len(set(values.values())) == 2
    assert len({trial for trial, _ in read.arm("another's").trials.values()}) == 2
    assert read.interval("another's", "test/psnr_db").n == 2

    capsys.readouterr()
    assert command("report", "theirs", "--out", tmp_path / "report") == DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "The output of another program is best: “another's”" in said
    assert "Not trained here: “another's”, the output of another program for each seed." in said
    assert "n = 2." in said
    assert "output of another program</small>" in (tmp_path / "report" / "theirs.html").read_text()

    with_outputs(file, str(folders[0]))
    assert command("run", file, "--replace") == DONE
    assert studies.read(FolderStore(tmp_path / "store"), "theirs").arm("another's").exact


def test_a_missing_seed_is_found_before_anything_runs(
    file: Path, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    with_outputs(file, f"{{0: {tmp_path}, 2: {tmp_path}}}")
    assert command("check", file) == USER_ERROR
    said = capsys.readouterr().err
    assert "theirs.yaml:9" in said
    assert "folders for the seeds 0, 2, and none for the seed 1" in said
    assert re.search(r"allowed: a folder for each of the seeds 0, 1(.|\n)*do: ", said)
    with_outputs(file, f"{{0: {tmp_path}, 1: {tmp_path / 'none'}}}")
    assert command("check", file) == USER_ERROR
    assert "it is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("grid", "rows"),
    [
        ("{batch: [2, 4], epochs: [1, 2]}", ["another's"]),
        ("{mask.fraction: [0.25, 0.5]}", ["another's, fraction=0.25", "another's, fraction=0.5"]),
    ],
    ids=["the same results everywhere", "other test images at each level"],
)
@pytest.mark.parametrize("by_seed", [False, True])
def test_in_a_grid_they_are_one_row_for_each_result(
    grid: str, rows: list[str], by_seed: bool, file: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    with_outputs(file, f"{{0: {tmp_path}, 1: {tmp_path}}}" if by_seed else str(tmp_path))
    text = file.read_text().replace("model: {name: mean_fill}\n", "model: {name: vanilla_autoencoder}\n")
    file.write_text(text.replace("seeds: 2", f"grid: {grid}\nseeds: 2"))
    planned = expand.expand(loader.load(file), schema)
    theirs = [arm for arm in planned.arms if arm.name.startswith("another's")]
    assert [arm.name for arm in theirs] == rows
    assert all(arm.baseline in {one.name for one in planned.arms} for arm in theirs)
    assert all(arm.by_seed == by_seed and set(arm.trials) == {0, 1} for arm in theirs)
