"""A detection study on the command line: the inpainter's sweep, the forged set, the detector; use of both networks."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import sweeps
from sweeps.cli.common import DONE, USER_ERROR
from sweeps.errors import SweepError
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.sweeps.cli.test_cli import Command, command, is_told
from trainables.errors import TrialError

__all__ = ["command"]

INPAINTER = """\
# Which fill is good?
name: fills
task: inpaint
base:
  data: {name: cifar10, train: 64, val: 8, test: 8}
  mask: {name: centre, fraction: 0.25}
  model: {name: vanilla_autoencoder, width: 16}
  batch: 8
  epochs: 2
seeds: 1
tiny: {set: {data.train: 8, model.width: 8, epochs: 1}}
"""
DETECTOR = """\
# Is what it fills found?
name: finds
task: detect
base:
  data:
    forged:
      images: {name: cifar10, train: 16, val: 8, test: 8}
      mask: {name: centre, fraction: 0.25}
      inpainters: [{best: {sweep: fills.yaml, metric: val/psnr_db}}]
  model: {name: search_net}
  batch: 8
  epochs: 1
seeds: 1
report: {metrics: [test/f1]}
tiny: {set: {batch: 4}}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path) -> Path:
    """The folder with the two sweep files; the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_DATA", str(data_root))
    (tmp_path / "fills.yaml").write_text(INPAINTER)
    (tmp_path / "finds.yaml").write_text(DETECTOR)
    return tmp_path


def test_the_whole_chain(command: Command, files: Path) -> None:
    for verb in ("check", "plan"):
        said = command(verb, "finds.yaml", "--tiny")
        assert said.code == DONE, said
        assert "finds-tiny takes trials from fills-tiny: sweeps run runs what is left of it first" in said.out
        assert "pending-" in said.out
    assert not (files / "store").exists(), "nothing was written so far"

    said = command("run", "finds.yaml", "--tiny")
    assert said.code == DONE, said
    assert "first: fills-tiny" in said.err
    store = FolderStore(files / "store")
    plan = stored_plans.newest_plan(store, "finds-tiny") or {}
    (inpainter,) = plan["pins"].values()
    assert f'"{inpainter}"' in json.dumps(plan["arms"][0]["config"]["data"]["forged"]["inpainters"])
    (set_id,) = store.children("datasets")
    assert "done.json" in store.children(f"datasets/{set_id}")
    detector = plan["arms"][0]["trials"]["0"]["id"]

    again = command("run", "finds.yaml", "--tiny")
    assert again.code == DONE
    assert "first:" not in again.err
    assert "1 done before, 0 to run" in again.out
    assert command("resume", "finds-tiny").code == DONE
    assert f"pinned: {inpainter}" in command("status", "finds-tiny").out
    assert 'sweep finds-tiny uses it as {"best":' in command("show", inpainter).out
    told = command("reproduce", "finds-tiny", "--address", "in-process")
    assert "the same numbers, to the last bit" in told.out

    assert command("gc").code == DONE
    _use(command, files, inpainter, detector)


def test_changes_for_a_dependency(command: Command, files: Path) -> None:
    said = command("run", "finds.yaml", "--tiny", "--set-for", "fills", "data.train=16")
    assert said.code == DONE, said
    store = FolderStore(files / "store")
    plan = stored_plans.require_plan(store, "fills-tiny")
    assert plan["changes"] == ["data.train=16"]
    assert plan["arms"][0]["config"]["data"]["train"] == 16
    assert command("run", "finds.yaml", "--tiny").code == DONE, "it keeps the values that it was run with"
    said = command("run", "finds.yaml", "--tiny", "--set-for", "fills", "data.train=24")
    is_told(said, "data.train was 16 and is 24", "--replace")
    assert stored_plans.require_plan(store, "fills-tiny") == plan
    is_told(command("plan", "finds.yaml", "--tiny", "--set-for", "fill", "epochs=1"), "did you mean `fills`?")


def _score(command: Command, files: Path, detector: str) -> None:
    """What a detector of ours says of photographs, rated by a protocol like that of anybody's detector."""
    names = [f"p{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        Image.effect_noise((40, 40), 20.0 + 20 * number).convert("RGB").save(files / name)
    (files / "labels.csv").write_text("image,label\n" + "".join(f"p{n},{n % 2}\n" for n in range(4)))
    given = ("predict", detector, *names, "--out", "out", "--to-score")
    said = command(*given, "rated")
    assert said.code == DONE, said
    rows = (files / "rated" / "scores.csv").read_text().splitlines()
    found = [json.loads((files / "out" / f"{name}.found.json").read_text())["probability"] for name in names]
    assert rows == ["image,score", *(f"{name},{score!r}" for name, score in zip(names, found, strict=True))]
    score = ("score", "ours=rated/scores.csv", "--protocol", "trufor-images", "--truth", "labels.csv", "--json")
    assert {fill["name"] for fill in json.loads(command(*score).out)["fills"]} == {"ours", "all_images"}
    is_told(command(*given, "rated"), "it is not empty")
    is_told(command(*given[:2], "p0.png", "sub/p0.png", "--to-score", "x"), "two images are called 'p0'")
    is_told(command(*given[:2], "p0.png", "--mask", "1,1,2,2", "--to-score", "x"), "an inpainter gives no detections")
    assert not (files / "x").exists()
    is_told(command(*given, "labels.csv"), "it is a file")


def _authentic(command: Command, files: Path, inpainter: str, detector: str) -> None:
    """The threshold of photographs that are known to be authentic, on the command line and in Python."""
    (files / "known").mkdir()
    for number in range(4):
        Image.effect_noise((50, 70), 20.0 + number).convert("RGB").save(files / "known" / f"{number}.png")
    given = ("predict", detector, "one.png", "--authentic", "known")
    is_told(command(*given), "4 authentic photographs for a false positive rate of 0.05", "at least 19", "--fpr 0.2")
    said = command(*given, "known/1.png", "--fpr", "0.2", "--out", "known-out")
    assert said.code == USER_ERROR
    assert "it is one of the authentic photographs" in said.err
    found = json.loads((files / "known-out" / "one.png.found.json").read_text())
    chosen = found["threshold_chosen"]
    assert (chosen["origin"], chosen["authentic_photographs"]) == ("authentic photographs", 4)
    assert chosen["supported_false_positive_rate"] == pytest.approx(0.2)
    trial = sweeps.open(files / "store")["finds-tiny"].trial(detector)
    measured = trial.measure_authentic(files / "known")
    for one in (files / "known", measured, [Image.open(files / "known" / f"{number}.png") for number in range(4)]):
        same = trial.predict(files / "one.png", false_positive_rate=0.2, authentic=one)
        assert (same.threshold, same.label, dict(same.chosen)) == (found["threshold"], found["label"], chosen)
    is_told(command("predict", inpainter, "one.png", "--mask", "1,1,2,2", "--authentic", "known"), "has no threshold")
    filler = sweeps.open(files / "store")["fills-tiny"].trial(inpainter)
    with pytest.raises(SweepError, match="an inpainter has no threshold"):
        filler.predict(files / "one.png", (1, 1, 2, 2), authentic=measured)
    with pytest.raises(SweepError, match="only a detector has a threshold"):
        filler.measure_authentic(files / "known")
    with pytest.raises(TrialError, match="at least 19"):
        trial.predict(files / "one.png", authentic=measured)
    is_told(command(*given[:3], "--authentic", "nowhere"), "it is not a folder")
    (files / "known" / "4.png").write_bytes(b"")
    is_told(command(*given, "--fpr", "0.2"), "4.png", "does not decode")


def _use(command: Command, files: Path, inpainter: str, detector: str) -> None:
    from tests.trainables.inference.test_predict import pattern

    pattern(50, 70).save(files / "one.png")
    pattern(50, 70).convert("CMYK").save(files / "two.jpg")
    (files / "broken.png").write_bytes(b"")
    said = command("predict", inpainter[:8], "one.png", "two.jpg", "--mask", "20,30,10,12", "--out", "out")
    assert said.code == DONE, said
    assert (files / "out" / "one.png.filled.png").is_file()
    assert json.loads((files / "out" / "one.png.filled.json").read_text())["resized"] is False
    said = command("predict", inpainter, "one.png", "--mask", "0,0,30,70", "--out", "wide")
    assert re.search(r"^note: .*one.png: the hole is wide .* covers [\d.]+ x [\d.]+ px$", said.err, re.MULTILINE), said
    said = command("predict", inpainter, "one.png", "--mask", "20,30,10,12", "--resize", "--out", "resized")
    assert "the whole image was resized to" in said.err
    assert json.loads((files / "resized" / "one.png.filled.json").read_text())["resized"] is True
    said = command("predict", detector, "one.png", "broken.png", "--out", "out")
    assert said.code == USER_ERROR
    assert "broken.png" in said.err
    found = json.loads((files / "out" / "one.png.found.json").read_text())
    assert found["width"] == 50
    assert found["threshold_chosen"]["false_positive_rate"] == 0.05
    count = found["threshold_chosen"]["windows"]
    assert count == len(found["windows"]["tops"]) * len(found["windows"]["lefts"]) > 1
    chosen = found["threshold_chosen"]
    assert chosen["supported_false_positive_rate"] == pytest.approx(
        count / (count + chosen["authentic_validation_images"])
    )
    assert f"note: one.png: the threshold is {chosen['statement']}, or authentic" in said.err
    _score(command, files, detector)
    _authentic(command, files, inpainter, detector)
    is_told(command("predict", detector, "one.png", "--fpr", "1"), "not between 0 and 1")
    is_told(command("export", detector, "--fpr", "0", "--out", "refused"), "not between 0 and 1")
    assert not (files / "refused").exists()
    assert command("predict", detector, "one.png", "--resize", "--out", "resized").code == DONE
    resized = json.loads((files / "resized" / "one.png.found.json").read_text())
    assert resized["windows"] is None
    is_told(command("predict", detector, "one.png", "--mask", "1,1,2,2"), "finds the inpainted region itself")
    is_told(command("predict", inpainter, "one.png"), "needs a hole")
    is_told(command("predict", inpainter, "broken.png", "--mask", "1,1,2,2"), "does not decode")
    for trial in (inpainter, detector):
        said = command("export", trial)
        assert said.code == DONE, said
        assert {path.name for path in (files / f"export-{trial}").iterdir()} == {
            *("README.md", "config.json", "model.safetensors", "model.pt2")
        }
    decision = json.loads((files / f"export-{detector}" / "config.json").read_text())["decision"]
    assert decision[0]["probability"] == resized["threshold"]
    is_told(command("export", inpainter, "--format", "torchscript", "--out", "refused"), "safetensors, exported, onnx")
    if importlib.util.find_spec("onnxscript") is None:
        is_told(command("export", inpainter, "--format", "onnx", "--out", "refused"), "pip install onnx")
    assert not (files / "refused").exists(), "a refused export leaves nothing"


def test_a_forge_file(command: Command, files: Path) -> None:
    block = "images: {name: cifar10, train: 6, val: 4, test: 4}\ninpainters: [{name: mean_fill}]\n"
    (files / "set.yaml").write_text(block)
    said = command("forge", "set.yaml")
    assert said.code == DONE, said
    set_id = (files / "store" / "datasets").iterdir().__next__().name
    for words in (set_id, "train  6 inpainted, 6 real", "near duplicates across splits: 0 pairs", "card.md"):
        assert words in said.out, words
    (files / "set.yaml").write_text(block.replace("{name: mean_fill}", "{best: {sweep: fills.yaml, metric: val/l2}}"))
    is_told(command("forge", "set.yaml"), "set.yaml:2", "it has not run", "sweeps run")
    (files / "set.yaml").write_text(block.replace("mean_fill", "median_fill"))
    is_told(command("forge", "set.yaml"), "mean_fill")
