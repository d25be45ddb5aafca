"""`sweeps plan --all`: all shipped studies in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps import api
from sweeps.cli import common
from sweeps.cli.main import main
from sweeps.spec import studies

STUDY = """\
# Does width help?
name: NAME
task: inpaint
base:
  data: {name: cifar10, train: 48, val: 16, test: 16}
  mask: {name: lines}
  model: {name: partial_conv_unet, width: 8}
  epochs: 4
seeds: 4
arms:
  - {name: wide, set: {model.width: 16}}
  - {name: mean fill, set: {model: {name: mean_fill}}}
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two studies in place of those that the package has, one of them with a small form; returns an empty store."""
    folder = tmp_path / "inpainting"
    folder.mkdir()
    (folder / "one.yaml").write_text(STUDY.replace("NAME", "study-one") + "small: {set: {epochs: 2}, seeds: 3}\n")
    (folder / "two.yaml").write_text(STUDY.replace("NAME", "study-two"))
    monkeypatch.setattr(studies, "FOLDER", tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "store"


def test_all_studies_at_a_size(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--all", "--size", "small", "--store", str(shipped)]) == common.DONE
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "study-one-small 7 7 12 ? 1 of 3 kinds" in rows
    assert "study-two-small not planned: the file has no `small:` block" in rows
    assert "1 of 2 studies 7 7 12 ? 1 of 3 kinds" in rows


def test_a_study_says_why_it_has_no_small_form(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = shipped.parent / "inpainting" / "two.yaml"
    two.write_text(two.read_text() + "no_small: it needs ImageNet weights\n")
    assert main(["plan", "--all", "--size", "small", "--store", str(shipped)]) == common.DONE
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "study-two-small not planned: it has no small form, since it needs ImageNet weights" in rows


def test_names_of_studies_are_whole_in_a_narrow_terminal(
    shipped: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "context-encoder-of-a-study-with-a-long-name"
    one = shipped.parent / "inpainting" / "one.yaml"
    one.write_text(one.read_text().replace("study-one", name))
    assert main(["plan", "--all", "--size", "small", "--store", str(shipped)]) == common.DONE
    lines = capsys.readouterr().out.splitlines()
    assert f"{name}-small" in "".join(line.split()[0] for line in lines if line.strip()), "folded, not cut off"


def test_measured_times_are_added_up(shipped: Path, data_root: Path) -> None:
    one, two = api.study_costs(shipped, "full", api.RunOptions(data=data_root), measure=True)
    assert (one.name, one.trials, one.left, one.epochs, one.unknown) == ("study-one", 9, 9, 32, 0)
    assert one.seconds > 0
    assert (two.name, two.unknown) == ("study-two", 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "no sweep file"),
        (["one", "--all"], "one with --all"),
        (["--all", "--set", "epochs=3"], "--set with --all"),
        (["--all", "--set-for", "one", "epochs=3"], "--set-for with --all"),
        (["--all", "--arms", "base"], "--arms with --all"),
        (["--all", "--skip-arms", "base"], "--skip-arms with --all"),
    ],
)
def test_all_studies_or_one_file(
    shipped: Path, given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *given, "--store", str(shipped)]) == common.USER_ERROR
    error = capsys.readouterr().err
    assert f"sweeps plan: {says}" in error
    assert "sweeps plan --all --size small" in error


def test_the_published_size_of_a_header_can_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options of the header reach the inpainter's sweep, so that it is trained on images of the same size."""
    file = studies.FOLDER / "detection" / "detector_backbones.yaml"
    lines = [line.removeprefix("#   ") for line in file.read_text(encoding="utf-8").splitlines()]
    options = [word for line in lines if line.startswith("--set") for word in line.split()]
    assert "--set-for" in options
    assert main(["plan", str(file), "--store", str(tmp_path), *options]) == 0
    told = capsys.readouterr().out
    assert "forgers: 8 arms" in told
    assert "detector-backbones: 7 arms" in told
