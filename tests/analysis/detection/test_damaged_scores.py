"""Files of image scores that are damaged, changed or missing: named, never used, and no end of a verb."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import studies
from analysis.claims import overview
from analysis.detection import image_scores
from analysis.report import build as report
from analysis.report import formats
from analysis.study import Study
from sweeps.cli.main import main
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.analysis.detection.detection_store import make_detection_store
from tests.analysis.make_store import NOW
from tests.cluster import damage

ARMS = {"plain": 1.0, "better": 1.6}
CLAIM = {"text": "it finds more", "metric": "test/auc", "better": "better", "than": "plain", "published": None}
DETECT = """\
# Does the probe find the fills?
name: probed
task: detect
base:
  data:
    forged: {images: {name: cifar10, train: 16, val: 8, test: 8}, inpainters: [{name: telea}]}
    input_size: 32
  model: {name: high_pass_probe}
seeds: 1
report: {metrics: [test/auc]}
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return make_detection_store(tmp_path / "store", ARMS, metrics=["test/auc"], claims=[CLAIM], changes={})


def files(store: FolderStore) -> list[str]:
    return [key for key in store.keys("trials/") if key.endswith(image_scores.FILE)]


def read(store: FolderStore) -> Study:
    return studies.read(store, "detectors", NOW)


def covered(store: FolderStore, arm: str) -> int:
    """The number of photographs that an arm's interval covers."""
    found = read(store).interval(arm, "test/auc")
    assert found is not None
    return found.photographs


def changed(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A file with other arrays, as its writer would have written it."""
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    change(arrays)
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)
    return target.getvalue()


def permute(arrays: dict[str, Any]) -> None:
    """Photographs of other images: every value stays, and every interval would be another one."""
    arrays["own.source"] = np.random.default_rng(0).permutation(arrays["own.source"])


def two_columns(arrays: dict[str, Any]) -> None:
    arrays["own.logit"] = np.stack([arrays["own.logit"]] * 2, axis=1)


def arm_of(store: FolderStore, key: str) -> str:
    trial = key.split("/")[1]
    return next(cell.arm for cell in read(store).cells if cell.trial == trial)


@pytest.mark.parametrize("how", ["permuted", "cut", "missing"])
def test_one_bad_file_is_named_and_its_arm_covers_the_seeds_alone(store: FolderStore, how: str) -> None:
    bad = files(store)[3]
    arm = arm_of(store, bad)
    assert covered(store, arm) == 60
    assert read(store).all_notes == read(store).notes
    if how == "missing":
        store.delete([bad])
    else:
        before = store.get(bad)
        store.put(bad, before[:-5] if how == "cut" else changed(before, permute))
    assert covered(store, arm) == 0
    assert covered(store, next(name for name in ARMS if name != arm)) == 60
    text = formats.markdown(report.build(store, "detectors", NOW))
    word = "missing" if how == "missing" else "damaged"
    assert f"1 of 8 files of image scores is damaged or missing ({bad} {word})" in text
    assert "restore it from a copy" in text.lower()
    assert bad in overview.collect(store, ["detectors"])[0].notes
    assert "--retrain-stale" not in text, "no older trial"


def test_no_verb_hides_damage_to_a_file_of_image_scores(store: FolderStore) -> None:
    """A file with each kind of damage: other numbers only where the file is named."""
    chance = random.Random(0)
    place = ["--store", store.uri]
    names = (["report", "detectors"], ["claims", "detectors"], ["compare", "detectors", "detectors"])
    commands = [[*name, *place] for name in names]
    clean = [damage.verb(*command) for command in commands]
    assert all(outcome.code == 0 for outcome in clean), [outcome.err for outcome in clean]
    for key, kind in zip(files(store)[::2], damage.DAMAGES, strict=True):
        with damage.damaged(store, key, kind, chance):
            for command, before in zip(commands, clean, strict=True):
                outcome = damage.verb(*command)
                assert damage.judge(before, outcome) == ""
                assert outcome.names_damage, (command[0], kind.__name__)


def older(store: FolderStore) -> None:
    """Make the results those of a version without checksums of files."""
    for key in [key for key in store.keys("trials/") if "/result/" in key]:
        body = layout.load(key, store.get(key))
        del body["files"]
        store.put(key, layout.dump(body))


def test_scores_of_a_version_without_checksums_are_used_if_they_are_whole(store: FolderStore) -> None:
    older(store)
    assert covered(store, "plain") == 60
    bad = files(store)[0]
    store.put(bad, changed(store.get(bad), two_columns))
    assert covered(store, arm_of(store, bad)) == 0
    [note] = read(store).all_notes[len(read(store).notes) :]
    assert f"{bad} damaged" in note
    assert "1 of 8 files" in formats.markdown(report.build(store, "detectors", NOW))


def test_trials_without_scores_are_no_damage_and_the_report_says_how_to_get_them(tmp_path: Path) -> None:
    store = make_detection_store(tmp_path, ARMS, metrics=["test/auc"], with_scores=lambda arm: arm == "better")
    assert read(store).all_notes == read(store).notes
    text = formats.markdown(report.build(store, "detectors", NOW))
    assert "4 trials have stored no scores of single images, as those of older versions" in text
    assert "--retrain-stale" in text
    assert "damaged" not in text


def test_a_file_that_the_trial_did_not_store_is_not_used(store: FolderStore) -> None:
    key = files(store)[0]
    arm = arm_of(store, key)
    result = next(one for one in store.keys(f"trials/{key.split('/')[1]}/result/"))
    body = layout.load(result, store.get(result))
    store.put(result, layout.dump({**body, "files": {}}))
    assert covered(store, arm) == 0


def test_a_trial_records_the_checksum_of_its_scores(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("probed.yaml").write_text(DETECT)
    store = FolderStore(tmp_path / "store")
    told = ("--store", store.uri, "--data", str(data_root), "--address", "in-process", "--quiet")
    assert main(["run", "probed.yaml", *told]) == 0
    [key] = files(store)
    [result] = [one for one in store.keys("trials/") if "/result/" in one]
    recorded = layout.load(result, store.get(result))["files"]
    assert recorded[image_scores.FILE] == hashlib.sha256(store.get(key)).hexdigest()
    assert not [name for name in recorded if name.endswith((".png", ".zip"))]
    found = studies.read(store, "probed").interval("base", "test/auc")
    assert found is not None
    assert found.photographs == 8
