"""Data that change under the same path: refused when planned and where a trial starts, and never mixed in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.driver import driver, forging, pending_work, planned_data
from cluster.driver.execution import NoEvents
from sweeps.cli.common import DONE, USER_ERROR
from sweeps.cli.main import main
from sweeps.errors import SweepError
from sweeps.results import data_versions, progress
from sweeps.run_options import RunOptions
from sweeps.spec import expand, loader
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from trainables import schema
from trainables.forgery import config as forgery_config

INPAINT = """\
# Does anybody notice?
name: noticed
task: inpaint
base:
  data: {name: folder, path: imgs, size: 16, split: split.csv, captions: {file: captions.txt}}
  mask: {name: irregular, path: masks}
  model: {name: vanilla_autoencoder, width: 4}
  batch: 4
  epochs: 1
arms:
  - {name: grey, set: {model: {name: mean_fill}}}
seeds: 2
report: {metrics: [test/psnr_db]}
claims:
  - {text: learning helps, metric: test/psnr_db, better: base, than: grey}
"""
DETECT = """\
# Does anybody notice?
name: noticed
task: detect
base:
  data: {set: {layout: folder, path: labelled, size: 16}}
  model: {name: majority}
seeds: 1
report: {metrics: [test/accuracy]}
"""
FORGED = """\
# Does anybody notice?
name: noticed
task: detect
base:
  data: {forged: {images: {name: folder, path: imgs, size: 16, split: split.csv}, inpainters: [{name: mean_fill}]}}
  model: {name: majority}
seeds: 1
report: {metrics: [test/accuracy]}
"""
PROGRAM = """\
# Does anybody notice?
name: noticed
task: command
base:
  run: 'echo "{\\"epoch\\": 1, \\"val/lines\\": $(wc -l < {data_root}/labelled/labels.csv)}" >> $SWEEPS_RECORDS'
  shell: true
  reads: [labelled/*.csv, "labelled/im*/**"]
  metrics: {val/lines: max}
seeds: 1
"""
TASK = """\
# Does anybody notice?
name: noticed
task: ./lines.py
base: {reads: [labelled]}
seeds: 1
"""
LINES = """\
metrics = {"val/lines": "max"}

def train(context):
    for _ in context.epochs:
        yield {"val/lines": len((context.data / "labelled" / "labels.csv").read_text().splitlines())}
"""
SIDE = 16
Run = Callable[..., int]


def picture(file: Path, seed: int, mask: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    if mask:
        pixels[:] = 0
        pixels[seed % 8 : seed % 8 + 6, 4:10] = 255
    Image.fromarray(pixels).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with images, masks, a split file, captions, and a labelled set."""
    folder = tmp_path / "data"
    names = [f"{number:02d}.png" for number in range(12)]
    for number, name in enumerate(names):
        picture(folder / "imgs" / name, number)
        picture(folder / "labelled" / "images" / name, number)
    for number in range(3):
        picture(folder / "masks" / f"{number}.png", number, mask=True)
    splits = [*["train"] * 6, *["val"] * 2, *["test"] * 4]
    rows = [f"{name},{split}" for name, split in zip(names, splits, strict=True)]
    (folder / "split.csv").write_text("\n".join(["file,split", *rows]))
    (folder / "captions.txt").write_text("\n".join(f"{name}\ta picture" for name in names))
    labels = [f"{name},{number % 2},{split}" for number, (name, split) in enumerate(zip(names, splits, strict=True))]
    (folder / "labelled" / "labels.csv").write_text("\n".join(["file,label,split", *labels]))
    for number in range(1, 12, 2):
        picture(folder / "labelled" / "masks" / names[number], number, mask=True)
    return folder


@pytest.fixture
def run(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run or plan the sweep with the command; returns its exit code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "noticed.yaml"
    file.write_text(INPAINT)
    (tmp_path / "lines.py").write_text(LINES)

    def command(*arguments: str, verb: str = "run") -> int:
        where = ["--store", str(tmp_path / "store"), "--data", str(root), "--address", "in-process"]
        return main([verb, str(file), *where, *arguments])

    return command


@dataclass(frozen=True)
class Case:
    """A change of data, and what is said about it."""

    change: Callable[[Path], object]
    told: tuple[str, ...]
    text: str = INPAINT


CASES: Mapping[str, Case] = {
    "another image": Case(
        lambda root: picture(root / "imgs" / "07.png", 99), ("data imgs", "12 files in both", "07.png")
    ),
    "one more image": Case(lambda root: picture(root / "imgs" / "new.png", 99), ("data imgs", "12 and 13 files")),
    "one image less": Case(
        lambda root: [(root / "imgs" / "03.png").unlink(), drop(root / "split.csv"), drop(root / "captions.txt")],
        ("data imgs", "12 and 11 files", "03.png, which only one", "2 more paths"),
    ),
    "another split": Case(lambda root: rewrite(root / "split.csv", "01.png,train", "01.png,test"), ("data split.csv",)),
    "another mask": Case(lambda root: picture(root / "masks" / "1.png", 7, mask=True), ("data masks", "1.png")),
    "another caption": Case(
        lambda root: rewrite(root / "captions.txt", "03.png\ta", "03.png\tone"), ("data captions.txt",)
    ),
    "another label": Case(
        lambda root: rewrite(root / "labelled" / "labels.csv", "01.png,1", "01.png,0"),
        ("data labelled", "labels.csv"),
        DETECT,
    ),
    "another manipulated image": Case(
        lambda root: picture(root / "labelled" / "images" / "05.png", 99), ("data labelled", "images/05.png"), DETECT
    ),
    "another file that a program reads": Case(
        lambda root: rewrite(root / "labelled" / "labels.csv", "01.png,1", "01.png,0"),
        ("data labelled/*.csv", "labels.csv"),
        PROGRAM,
    ),
    "another image that a program reads": Case(
        lambda root: picture(root / "labelled" / "images" / "05.png", 99),
        ("data labelled/im*/**", "images/05.png"),
        PROGRAM,
    ),
    "another file that a user's task reads": Case(
        lambda root: rewrite(root / "labelled" / "labels.csv", "01.png,1", "01.png,0"),
        ("data labelled", "labels.csv"),
        TASK,
    ),
}


def rewrite(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize("text", [PROGRAM, TASK])
def test_data_that_a_program_or_task_reads_must_be_there(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "noticed.yaml").write_text(text)
    shutil.rmtree(root / "labelled")
    assert run() == USER_ERROR
    assert f"no file in {root} matches it" in capsys.readouterr().err


def drop(file: Path) -> None:
    """Remove the line of one image."""
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("03.png")))


@pytest.mark.parametrize("case", CASES)
def test_other_data_under_the_same_path_are_refused_when_planned(
    case: str, run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noticed.yaml").write_text(CASES[case].text)
    assert run() == DONE
    for folder, name in (("imgs", ".DS_Store"), ("imgs", "Thumbs.db"), ("masks", "._0.png"), ("labelled", ".DS_Store")):
        (root / folder / name).write_bytes(b"of a file manager")
    assert run("--set", "seeds=3") == DONE, "foreign files do not count"

    CASES[case].change(root)
    capsys.readouterr()
    for verb in ("plan", "run"):
        assert run("--set", "seeds=4", verb=verb) == USER_ERROR
        said = capsys.readouterr().err
        assert all(words in said for words in (*CASES[case].told, "--accept-changed-data", "--retrain-stale")), said


def test_results_of_both_are_kept_on_request_and_no_reader_is_left_in_the_dark(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == DONE
    picture(root / "imgs" / "07.png", 99)
    assert run("--set", "seeds=3", "--accept-changed-data") == DONE
    assert run("--set", "seeds=4") == DONE, "what was accepted is not asked again"
    words = "2 of 5 finished trials read another version of imgs than the other 3: 12 files in both; "
    words += "the first that differs is 07.png"
    store = ["--store", str(tmp_path / "store")]
    for verb in (["status"], ["report", "--out", str(tmp_path / "report")], ["claims"], ["claims", "--csv"]):
        capsys.readouterr()
        assert main([*verb, "noticed", *store]) == DONE
        said = capsys.readouterr().out
        assert words in " ".join(said.split()), said
    for file in ("noticed.md", "noticed.html"):
        assert words in " ".join((tmp_path / "report" / file).read_text().split())

    assert run("--set", "seeds=4", "--retrain-stale") == DONE
    capsys.readouterr()
    assert main(["status", "noticed", *store]) == DONE
    assert "version of imgs" not in capsys.readouterr().out


def test_data_that_are_restored_are_accepted_again(run: Run, root: Path) -> None:
    assert run() == DONE
    before = (root / "imgs" / "07.png").read_bytes()
    picture(root / "imgs" / "07.png", 99)
    assert run() == USER_ERROR, "also if there is nothing to run"
    (root / "imgs" / "07.png").write_bytes(before)
    assert run("--set", "seeds=3") == DONE


def test_a_node_with_other_data_refuses_its_trial_by_name(root: Path, store: Store, tmp_path: Path) -> None:
    """The driver has told which data are meant, or the first trial has decided it; masks and images of a process."""
    other = tmp_path / "other"
    shutil.copytree(root, other)
    picture(other / "masks" / "1.png", 7, mask=True)
    file = tmp_path / "noticed.yaml"
    file.write_text(INPAINT)
    planned = expand.expand(loader.load(file), schema)
    driver.write(planned, store, ())
    work = pending_work.work_left(planned, store, schema)
    first, *others = work.jobs
    driver.run(replace(work, jobs=[first]), store, schema, RunOptions("in-process", data=root), NoEvents())

    told = planned_data.look(planned, store, root).digests
    work = replace(work, jobs=others)
    for data in (told, {}):
        driver.run(work, store, schema, RunOptions("in-process", data=other), NoEvents(), data=data)
        states = progress.trial_states(store, planned.to_json([]) | {"seeds": [0, 1]})
        errors = [states[job.trial_id].error for job in others]
        assert all(error and error["type"] == "SweepError" for error in errors)
        assert all("data masks on " in error["message"] and "1.png" in error["message"] for error in errors if error)
    assert set(data_versions.used(store, "noticed")["masks"]) == {told["masks"]}

    accepting = RunOptions("in-process", data=other, accept_changed_data=True, retry=True)
    driver.run(work, store, schema, accepting, NoEvents(), data=told)
    assert not pending_work.work_left(planned, store, schema).jobs
    assert len(data_versions.mixed_data_of(store, planned.to_json([]))) == 1


def test_a_forged_set_of_other_photographs_is_refused_and_made_again_on_request(
    run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "noticed.yaml").write_text(FORGED)
    assert run() == DONE
    store = FolderStore(tmp_path / "store")
    [key] = [key for key in store.keys("datasets/") if key.endswith("/done.json")]
    first = store.get(key)
    picture(root / "imgs" / "07.png", 99)
    for verb in ("plan", "run"):
        capsys.readouterr()
        assert run("--set", "epochs=1", verb=verb) == USER_ERROR
        said = capsys.readouterr().err
        assert all(words in said for words in ("data imgs, from which the forged set", "07.png", "--retrain-stale"))
    assert run("--accept-changed-data") == DONE
    assert store.get(key) == first, "it goes on with the set as it was made"

    capsys.readouterr()
    assert run("--retrain-stale") == DONE
    assert "0 done before, 1 to run" in capsys.readouterr().out
    assert store.get(key) != first
    assert run(verb="plan") == DONE
    picture(root / "imgs" / "07.png", 98)
    second = store.get(key)
    assert run("--fresh") == DONE
    assert store.get(key) not in (first, second)


def test_a_forged_set_is_not_continued_with_other_photographs(root: Path, store: Store) -> None:
    images = {"name": "folder", "path": "imgs", "split": "split.csv", "size": 16}
    block = forgery_config.resolve_forge({"images": images, "inpainters": [{"name": "mean_fill"}]})
    set_id = forging.ensure(store, block, root, quiet=True)
    store.delete([f"datasets/{set_id}/done.json"])
    picture(root / "imgs" / "07.png", 99)
    with pytest.raises(SweepError, match=f"forged set {set_id}(.|\n)*07.png"):
        forging.ensure(store, block, root, quiet=True)
