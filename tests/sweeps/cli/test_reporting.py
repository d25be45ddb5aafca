"""The verbs that say what was found: `claims`, `compare`, `reproduce`, and where `report` writes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from analysis.report import build as report
from analysis.report.sections import images, pictures
from sweeps.cli import common
from sweeps.cli.common import USER_ERROR
from sweeps.cli.main import main
from sweeps.results import samples
from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.sweeps.conftest import SMALL

TINY = (
    *("--set", "seeds=2", "--set", "epochs=1", "--set", "data.train=16", "--set", "data.val=8"),
    *("--set", "data.test=8", "--set", "batch=8", "--set", "model.width=1"),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A store in which the small sweep is done."""
    folder = tmp_path_factory.mktemp("reporting")
    (folder / "small.yaml").write_text(
        SMALL.replace("width: 8", "width: 1").replace("model.width: 16", "model.width: 2")
    )
    arguments = ["run", folder / "small.yaml", *TINY, "--store", folder / "store", "--data", data_root, "--quiet"]
    assert main([*map(str, arguments), "--address", "in-process"]) == 0
    return folder / "store"


def test_claims_of_one_sweep_and_of_all(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "small", "--store", str(ran)]) == 0
    assert "wider is better" in capsys.readouterr().out
    assert main(["claims", "--store", str(ran), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study,claim,source,published,ours,verdict,sentence"
    assert any(line.startswith("partial-conv,") and ",not run," in line for line in lines)
    assert main(["claims", "--store", str(ran)]) == 0
    short = capsys.readouterr().out
    assert "1 claim of 1 study" in short
    assert "partial-conv" not in short
    assert "`sweeps claims --all` lists them" in short
    assert main(["claims", "--all", "--store", str(ran)]) == 0
    assert "partial-conv" in capsys.readouterr().out


def test_what_the_report_tells_of_the_seeds_is_chosen_in_the_file(
    ran: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another correction and statistic: the same trials, all of them there, and the table says what it shows."""
    store = shutil.copytree(ran, tmp_path / "store")
    changes = ("--set", "report.correction=benjamini-hochberg", "--set", "report.statistic=interquartile mean")
    arguments = ["run", ran.parent / "small.yaml", *TINY, *changes, "--store", store, "--data", data_root, "--quiet"]
    trials = FolderStore(store).children("trials/")
    assert main([*map(str, arguments), "--address", "in-process"]) == 0
    assert FolderStore(store).children("trials/") == trials
    assert len(list(FolderStore(store).keys("trials/"))) == len(list(FolderStore(ran).keys("trials/")))
    capsys.readouterr()
    for folder, words in (
        (store, ("Benjamini-Hochberg-adjusted", "Interquartile mean over")),
        (ran, ("Holm-adjusted", "Mean over")),
    ):
        out = [*map(str, ["--store", folder, "--out", tmp_path / "report", "--format", "html,md,tex"])]
        assert main(["report", "small", *out]) == 0
        for ending in ("html", "md", "tex"):
            text = (tmp_path / "report" / f"small.{ending}").read_text().replace("&#39;", "'").replace("$\\pm$", "±")
            assert all(word in " ".join(text.split()) for word in words), ending


def test_a_correction_that_does_not_exist(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ran.parent / "small.yaml"), "--set", "report.correction=bonferroni"]) == 2
    assert "holm" in capsys.readouterr().err


def test_a_report_is_published_to_a_store(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", "small", "--store", ran, "--publish", tmp_path / "web", "--format", "html,tex,parquet"]
    assert main([*map(str, arguments)]) == 0
    assert sorted(FolderStore(tmp_path / "web").keys("")) == [
        f"reports/small/small.{ending}" for ending in ("html", "parquet", "tex")
    ]
    assert f"{tmp_path / 'web'}/reports/small/small.html" in capsys.readouterr().out


def test_disputed_images_are_drawn_again_for_every_arm(
    ran: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the checkpoints, as the trials had drawn them: image for image the composites that are in the samples."""
    out = tmp_path / "report"
    arguments = [*map(str, ["report", "small", "--store", ran, "--data", data_root, "--out", out, "--format", "md"])]
    assert main(arguments) == 0
    assert not (out / "small-disputed.png").exists()
    assert main([*arguments, "--redraw"]) == 0
    assert "small: 6 disputed images drawn for 3 arms; 0 arms had them" in capsys.readouterr().out
    assert (out / "small-disputed.png").exists()
    assert "small-disputed.png" in (out / "small.md").read_text()
    built = report.build(FolderStore(ran), "small")
    assert built.images is not None
    assert built.images.disputed is not None
    chosen = built.images.disputed.images
    for arm, seed in built.images.seeds.items():
        drawn = FolderStore(ran).get(f"{images.redrawn_folder(built.study, arm, seed, chosen)}/composite.png")
        trial, epochs = key = built.study.arm(arm).trials[seed]
        name = f"trials/{trial}/samples/{built.study.results[key]['attempt']}/{epochs}/composite.png"
        [stored] = samples.read(FolderStore(ran), [name]).values()
        both = [pictures.cut_tiles(pictures.open_strip(png), 8) for png in (drawn, stored)]
        assert [tile.tobytes() for tile in both[0]] == [both[1][number].tobytes() for number in chosen]
    assert main([*arguments, "--redraw"]) == 0
    assert "drawn for 0 arms; 3 arms had them" in capsys.readouterr().out
    two = list(built.images.seeds)[1:]
    assert main([*arguments, "--redraw", *(f"--redraw-arm={arm}" for arm in two)]) == 0
    differ = images.read_images(built.study, two)
    assert images.disputed_grid(built.study, differ) is not None, "as the dashboard compares two arms"
    assert main([*arguments, "--redraw", "--redraw-arm=nobody"]) == 2
    assert "has no such arm" in capsys.readouterr().err


def test_cells_that_run_again_give_the_same_numbers(
    ran: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "small", "--store", str(ran), "--data", str(data_root)]) == 0
    out = capsys.readouterr().out
    assert out.count("the same numbers, to the last bit") == 5
    assert "5 finished trials run again, 0 changed" in out


def test_a_cell_that_changed_is_named(
    ran: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result that somebody has edited does not come out again."""
    store, copy = FolderStore(ran), FolderStore(tmp_path / "copy")
    for key in store.keys(""):
        copy.put(key, store.get(key))
    plan = stored_plans.newest_plan(copy, "small")
    assert plan is not None
    trial = plan["arms"][1]["trials"]["1"]
    key = layout.result_key(trial["id"], trial["epochs"])
    body = layout.load(key, copy.get(key))
    body["history"]["val/psnr_db"][0] += 0.25
    copy.put(key, layout.dump(body))
    arguments = ["reproduce", "small", "--store", tmp_path / "copy", "--data", data_root, "--cell", "wide"]
    assert main([*map(str, [*arguments, "--into", tmp_path / "again"])]) == common.FAILED
    out = capsys.readouterr().out
    assert "wide · seed 0: the same numbers" in out
    assert re.search(r"wide · seed 1: differs from epoch 1 on, at most: val/psnr_db by 0.25 \(\d(\.\d)? %\)", out)
    assert list((tmp_path / "again" / "trials").iterdir()), "--into keeps the new results"


def test_compare_tells_versions_apart(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "small", "--store", str(ran), "--with-store", str(ran)]) == 0
    assert "0 of 3 drifted" in capsys.readouterr().out
    assert main(["compare", "small", "large", "--store", str(ran)]) == USER_ERROR
    assert "sweep 'large'" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--cell", "wid"], ["--seed", "7"]])
def test_cells_that_are_not_there(ran: Path, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "small", "--store", str(ran), *given]) == USER_ERROR
    assert "allowed:" in capsys.readouterr().err


def test_another_systems_images_are_an_arm(
    ran: Path, tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exported, "filled" by leaving them black, scored beside the study's own arms."""
    out = tmp_path / "test"
    assert main(["export-test", "small", "--store", str(ran), "--data", str(data_root), "--out", str(out)]) == 0
    assert f"outputs: {out / 'filled'}" in capsys.readouterr().out
    assert len(list((out / "masks").iterdir())) == 8
    (out / "damaged").rename(out / "filled")
    text = SMALL.replace("width: 8", "width: 1").replace("model.width: 16", "model.width: 2")
    text = text.replace("arms:\n", f"arms:\n  - {{name: theirs, outputs: {out / 'filled'}}}\n")
    (tmp_path / "small.yaml").write_text(text)
    arguments = ["run", tmp_path / "small.yaml", *TINY, "--store", ran, "--data", data_root, "--quiet"]
    assert main([*map(str, arguments), "--address", "in-process"]) == 0
    assert main(["report", "small", "--store", str(ran)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  theirs +[●○]? *[\d.]+ ", said, re.MULTILINE), "one value without ±"
    assert "Exact, without ±" in said
