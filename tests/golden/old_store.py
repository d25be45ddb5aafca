"""A store as an interrupted run leaves it, kept as one file: made by `python -m tests.golden.old_store FOLDER`.

golden-report   finished but for one trial, which was stopped before its last epoch
golden-search   a search with early stopping that was stopped in the midst of its fifth suggestion or a later one
golden-ray      planned, and nothing of it run

It is made by running the sweeps to their end and taking away what a stopped run would not have written. To keep it
small, the finished trials of golden-report have weights for the first seed alone. Pictures in it are grey, so that no
photograph is copied, and names of the machine that made it are replaced.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from sweeps.results import samples
from tests.golden import doors
from tests.golden.store_files import newest_plan, read_json

HERE = Path(__file__).resolve().parent
FILE = HERE / "old_store.tar.xz"
SWEEPS = ("report", "search", "ray")
REPORTED = "golden-report"
ARM, SEED = "partial convolution, thick", "2"
"""Whose trial of golden-report was interrupted."""
FIRST_CUT = 4
"""The search is stopped in the first suggestion from this one on that would have been told as complete."""


def unpack(folder: Path) -> None:
    """Put the old store into a folder."""
    with tarfile.open(FILE) as archive:
        archive.extractall(folder, filter="data")


def interrupted(store: Path) -> str:
    """The id of the trial of golden-report that was stopped."""
    arms = {arm["name"]: arm for arm in newest_plan(store, REPORTED)["arms"]}
    return str(arms[ARM]["trials"][SEED]["id"])


# --- making it --------------------------------------------------------------------------------------------------------


def make(target: Path) -> None:
    """Run the sweeps, take away what a stopped run would not have written, and pack the store."""
    with tempfile.TemporaryDirectory(prefix="golden-old-") as work:
        os.chdir(work)
        shutil.copytree(HERE / "sweeps", "sweeps")
        store = Path("store")
        for name in SWEEPS:
            arguments = ("--store", str(store), "--address", "in-process", "--checkpoint-every", "0", "--quiet")
            assert doors.command(("run", f"sweeps/{name}.yaml", *arguments)) == 0
            (store / "sweeps" / f"golden-{name}" / "records.parquet").unlink()  # written at the end of a run
        _cut_back(store / "trials" / interrupted(store))
        _cut_search(store)
        _cut_all(store, "golden-ray")
        assert doors.command(("gc", "--store", str(store))) == 0
        _drop_weights(store)
        _hide_machine(store)
        _pack(store, target)
        os.chdir(HERE)


def _planned(plan: dict[str, object]) -> set[str]:
    """Ids of a plan's trials."""
    arms: list[dict[str, dict[str, dict[str, str]]]] = plan["arms"]  # type: ignore[assignment]
    return {trial["id"] for arm in arms for trial in arm["trials"].values()}


def _cut_back(trial: Path) -> None:
    """Leave of a finished trial what is there when it was asked to stop before its last epoch."""
    (result,) = trial.glob("result/*.json")
    epochs = result.stem
    for path in (result, *trial.glob("log/*")):
        path.unlink()
    for path in trial.glob("attempts/*.end.json"):
        path.write_text(path.read_text().replace('"done"', '"stopped"'))
    for folder in (*trial.glob(f"checkpoint/*/{epochs}"), *trial.glob(f"samples/*/{epochs}")):
        shutil.rmtree(folder)
    assert list(trial.glob("checkpoint/*/*/manifest.json")), "an earlier checkpoint was kept"


def _cut_search(store: Path) -> None:
    """Stop the search in the midst of a suggestion, with all that came after it."""
    sweep = store / "sweeps" / "golden-search"
    (folder,) = sweep.glob("search/*")
    tells = {int(path.name[:4]): read_json(path) for path in folder.glob("*.tell.json")}
    cut = min(number for number, tell in tells.items() if number >= FIRST_CUT and tell["state"] == "complete")
    trials = {number: read_json(folder / f"{number:04d}.trials.json")["100"] for number in tells}
    (folder / f"{cut:04d}.tell.json").unlink()
    _cut_back(store / "trials" / trials[cut])
    for number in range(cut + 1, len(tells)):
        for path in folder.glob(f"{number:04d}.*"):
            path.unlink()
        shutil.rmtree(store / "trials" / trials[number])
        (sweep / "pruned" / f"{trials[number]}.json").unlink(missing_ok=True)
    first, *later = sorted((sweep / "plans").iterdir())
    tuned = _planned(newest_plan(store, "golden-search")) - _planned(read_json(first))
    for trial in tuned:
        shutil.rmtree(store / "trials" / trial)
    for path in later:
        path.unlink()


def _cut_all(store: Path, sweep: str) -> None:
    """Leave of a sweep what was there before its first trial."""
    for trial in _planned(newest_plan(store, sweep)):
        for folder in [path for path in (store / "trials" / trial).iterdir() if path.is_dir()]:
            shutil.rmtree(folder)


def _drop_weights(store: Path) -> None:
    for arm in newest_plan(store, REPORTED)["arms"]:
        for seed, trial in arm["trials"].items():
            if seed != "0" and trial["id"] != interrupted(store):
                shutil.rmtree(store / "trials" / trial["id"] / "checkpoint", ignore_errors=True)


def _hide_machine(store: Path) -> None:
    """Replace names and folders of this machine, and photographs by grey."""
    words = {str(Path.cwd()): "work", os.environ["SWEEPS_DATA"]: "data", str(HERE.parents[1]): "project"}
    words[platform.node()] = "host"
    for path in sorted(store.rglob("*")):
        if path.name == samples.ARCHIVE:
            pictures = samples.unpack(path.read_bytes())
            [packed] = samples.pack({name: _grey(png) for name, png in pictures.items()}).values()
            path.write_bytes(packed)
        elif path.suffix in (".json", ".txt"):
            text = re.sub(r'"machine":"[^"]*"', '"machine":"another"', path.read_text(encoding="utf-8"))
            for word, instead in words.items():
                text = text.replace(word, instead)
            path.write_text(text, encoding="utf-8")


def _grey(png: bytes) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        Image.new(image.mode, image.size, 128 if image.mode == "L" else (128, 128, 128)).save(target, "PNG")
    return target.getvalue()


def _pack(store: Path, target: Path) -> None:
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(path for path in store.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(path.relative_to(store).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


if __name__ == "__main__":
    make(Path(sys.argv[1]) / FILE.name)
