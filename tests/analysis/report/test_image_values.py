"""Results on single test images: the worst, those on which arms disagree, and the mean over all."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis import studies
from analysis.report import build as report
from analysis.report import formats
from analysis.report.sections import images
from sweeps.store.local import FolderStore
from tests.analysis.make_store import NOW, ArmSpec, make_store, strips

ARMS = (ArmSpec("plain", 24.0), ArmSpec("best", 27.0), ArmSpec("telea", 25.0, trains=False))
N = 40


def packed(psnr: Sequence[float], hole: Sequence[float] | None = None) -> bytes:
    target = io.BytesIO()
    holes = np.full(len(psnr), 0.15) if hole is None else np.array(hole)
    np.savez_compressed(target, psnr_db_hole=np.float32(psnr), hole_fraction=np.float32(holes))
    return target.getvalue()


def psnr(arm: str, seed: int) -> np.ndarray[Any, Any]:
    """Image 11 is hard for all, 17 for `plain` alone, 5 for the fill alone; 3 has no hole."""
    values = 20 + np.arange(N) / 100 + seed / 10
    values[11] = 8
    values[17] -= 9 if arm == "plain" else 0
    values[5] -= 15 if arm == "telea" else 0
    values[3] = np.nan
    return values


def kept(root: Path, files: Mapping[tuple[str, int], bytes] | None = None, seeds: int = 3) -> FolderStore:
    """A store whose trials have per-image values. files: replaces these files; empty bytes remove a file."""
    store = make_store(root, ARMS, range(seeds), [])
    study = studies.read(store, "partial-conv", NOW)
    for arm in study.arms:
        for seed in (0,) if not arm.trains else range(seeds):
            folder = images._folder(study, arm.name, seed)
            data = (files or {}).get((arm.name, seed), packed(psnr(arm.name, seed)))
            if data:
                store.put(f"{folder}/per_image.npz", data)
            for kind, png in strips(1, 25.0).items():
                store.put(f"{folder}/worst-{kind}.png", png)
    return store


def looked(store: FolderStore) -> images.ImageFindings | None:
    return images.read_images(studies.read(store, "partial-conv", NOW))


def test_the_worst_images_of_the_best_arm_and_of_the_baseline(tmp_path: Path) -> None:
    found = looked(kept(tmp_path))
    assert found is not None
    assert [(one.arm, one.seed) for one in found.worst] == [("best", 0), ("plain", 0)]
    assert [number for number, _ in found.worst[0].images] == [11, 0, 1, 2, 4, 5]
    assert [number for number, _ in found.worst[1].images] == [11, 17, 0, 1, 2, 4]
    assert found.worst[1].images[1][1] == pytest.approx(11.17, abs=1e-4)
    png = found.worst[0].png
    assert png is not None
    sheet = Image.open(io.BytesIO(png))
    assert sheet.width == 6 * 134 - 6
    assert sheet.height > 4 * 128, "damaged, filled, errors, truth"


def test_arms_that_train_say_which_images_are_disputed(tmp_path: Path) -> None:
    found = looked(kept(tmp_path))
    assert found is not None
    assert found.disputed is not None
    assert found.disputed.images[0] == 17
    assert list(found.disputed.rows) == ["plain", "best", "telea"]
    assert [row[0] for row in found.disputed.rows.values()] == pytest.approx([11.17, 20.17, 20.17], abs=1e-4)
    assert found.disputed.spread[0] == pytest.approx(9 / np.sqrt(2), abs=1e-4)
    assert found.disputed.spread[1] == 0
    assert 3 not in found.disputed.images


def test_the_mean_over_images_has_an_interval_over_seeds_and_images(tmp_path: Path) -> None:
    found = looked(kept(tmp_path))
    assert found is not None
    best = np.mean([np.nanmean(psnr("best", seed)) for seed in range(3)])
    assert found.means[0].startswith(f"“best”: mean test PSNR hole {best:.1f} [19.")
    assert "over 39 test images and 3 seeds; the interval is from a clustered bootstrap" in found.means[0]
    single = looked(kept(tmp_path / "single", seeds=1))
    assert single is not None
    assert "of one seed; there is no interval" in single.means[0]


@pytest.mark.parametrize(
    "other",
    [packed(np.arange(N), np.full(N, 0.4)), packed(np.arange(5)), b"", b"PK damaged"],
    ids=["other holes", "other images", "older", "damaged"],
)
def test_an_arm_that_cannot_be_compared_is_left_out(tmp_path: Path, other: bytes) -> None:
    store = kept(tmp_path, {("best", 0): other})
    found = looked(store)
    assert found is not None
    assert list(found.seeds) == ["plain", "telea"]
    assert "Arms without such values: “best”." in formats.markdown(report.build(store, "partial-conv", NOW))


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    target = io.BytesIO()
    np.savez(target, psnr_db_hole=np.array([object()]), hole_fraction=np.zeros(1))
    found = looked(kept(tmp_path, {("best", 0): target.getvalue()}))
    assert found is not None
    assert "best" not in found.seeds


def test_a_mean_that_lacks_a_seed_is_not_told(tmp_path: Path) -> None:
    found = looked(kept(tmp_path, {("best", 2): b""}))
    assert found is not None
    assert [sentence[:7] for sentence in found.means] == ["“plain”"]


def test_both_pages_have_the_section_and_older_stores_do_not(tmp_path: Path) -> None:
    built = report.build(kept(tmp_path / "new"), "partial-conv", NOW)
    page, text = formats.html(built), formats.markdown(built)
    assert '<section id="images">' in page
    assert "Images on which arms disagree most" in page
    assert "| standard deviation" in text
    assert "**Worst images of “plain” by test PSNR hole**: 11 (8.0 dB), 17 (11.2 dB)" in text
    named = [name for name in ("partial-conv-worst-1.png", "partial-conv-worst-2.png") if name in text]
    assert set(named) <= set(formats.files(built, ["md"]))
    old = report.build(make_store(tmp_path / "old", ARMS, range(3), []), "partial-conv", NOW)
    assert old.images is None
    assert 'id="images"' not in formats.html(old)
    assert "Single images" not in formats.markdown(old)
