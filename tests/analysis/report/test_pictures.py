"""The picture grid: the same images for every arm, and their error maps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis import studies
from analysis.report import build as report
from analysis.report import formats
from analysis.report.content import Report
from analysis.report.sections import pictures
from sweeps.store import layout
from sweeps.store.local import FolderStore
from tests.analysis.make_store import NOW, ArmSpec, make_store, png, strips


def test_a_strip_is_cut_into_squares_and_enlarged_without_smoothing() -> None:
    strip = np.random.default_rng(0).random((16, 16 * 5, 3))
    found = pictures.cut_tiles(pictures.open_strip(png(strip)), 4)
    assert len(found) == 4
    assert found[1].size == (128, 128)
    pixels = np.asarray(found[1])
    assert np.array_equal(pixels[::8, ::8], (strip[:, 16:32] * 255).astype(np.uint8))


def test_the_grid_shows_the_same_images_for_every_arm(tmp_path: Path) -> None:
    study = studies.read(make_store(tmp_path), "partial-conv", NOW)
    grid = pictures.picture_grid(study, most=3)
    assert grid is not None
    assert grid.titles == ["damaged", "blind autoencoder", "partial convolution", "mean fill", "telea", "truth"]
    assert set(grid.seeds.values()) == {0}
    sheet = Image.open(io.BytesIO(grid.png)).convert("RGB")
    assert sheet.width == 6 * 134 - 6
    truth = pictures.cut_tiles(pictures.open_strip(strips(0, 25.0)["truth"]), 3)[2]
    assert np.array_equal(np.asarray(sheet)[-262:-134, -128:], np.asarray(truth)), "above an empty place"


def test_an_error_map_is_white_where_nothing_differs_and_dark_in_the_hole() -> None:
    truth, output = (pictures.open_strip(strips(1, 15.0)[kind]) for kind in ("truth", "composite"))
    found = pictures.errors(output, truth)
    assert found is not None
    map_, differs = np.asarray(found), (np.asarray(output) != np.asarray(truth)).any(-1)
    assert (map_[~differs] == 255).all()
    assert (map_[differs] < 255).any(-1).all()
    worst = pictures.errors(Image.new("RGB", (4, 2), "black"), Image.new("RGB", (4, 2), "white"))
    assert worst is not None
    assert worst.getpixel((0, 0)) == (127, 0, 0)
    assert pictures.errors(output, Image.new("RGB", (3, 3))) is None


def test_the_grid_says_where_another_seed_stands_in(tmp_path: Path) -> None:
    arms = [ArmSpec("a", 25.0), ArmSpec("b", 25.0, states={0: "failed"})]
    grid = pictures.picture_grid(studies.read(make_store(tmp_path, arms, [0, 1], []), "partial-conv", NOW))
    assert grid is not None
    assert grid.seeds == {"a": 0, "b": 1}


def other_masks(store: FolderStore, name: str) -> None:
    """Turn the pictures of an arm upside down, as of other images under other masks."""
    study = studies.read(store, "partial-conv", NOW)
    for seed, key in study.arm(name).trials.items():
        folder = layout.join("trials", key[0], "samples", study.results[key]["attempt"], key[1])
        for kind, data in strips(seed, 25.0).items():
            store.put(f"{folder}/{kind}.png", png(np.asarray(Image.open(io.BytesIO(data)))[::-1] / 255))


def test_arms_with_other_masks_have_their_own_damaged_images_and_truth(tmp_path: Path) -> None:
    def thicker(plan: dict[str, Any]) -> None:
        plan["arms"][1]["config"]["mask"] = {"name": "centre", "fraction": 0.5}

    arms = [ArmSpec("a", 25.0), ArmSpec("b", 26.0), ArmSpec("c", 27.0)]
    store = make_store(tmp_path, arms, [0], [], change=thicker)
    other_masks(store, "b")
    made = report.build(store, "partial-conv", NOW)
    assert made.grid is not None
    assert made.grid.blocks == [["a", "c"], ["b"]]
    assert made.grid.titles == ["damaged", "a", "c", "truth", "damaged", "b", "truth"]
    shown = dict(enumerate(made.grid.columns))
    assert shown[3][1] != shown[6][1], "each truth is that of the arms to its left"
    assert shown[0][1] != shown[4][1]
    page = formats.html(made)
    assert "for the arms between a column “damaged” and the next “truth”" in page
    assert "Compare the fillings of “c” with those of “a”" in page


def test_another_seed_stands_in_for_one_without_pictures(tmp_path: Path) -> None:
    """As in a store that was continued from an archive, which has no pictures."""
    store = make_store(tmp_path, [ArmSpec("a", 25.0), ArmSpec("b", 26.0)], [0, 1, 2], [])
    first = studies.read(store, "partial-conv", NOW).arm("a").trials[0][0]
    store.delete(list(store.keys(f"trials/{first}/samples/")))
    grid = pictures.picture_grid(studies.read(store, "partial-conv", NOW))
    assert grid is not None
    assert grid.seeds == {"a": 1, "b": 0}


def test_an_arm_called_truth_is_an_arm(tmp_path: Path) -> None:
    arms = [ArmSpec("truth", 25.0), ArmSpec("damaged", 24.0)]
    grid = pictures.picture_grid(studies.read(make_store(tmp_path, arms, [0], []), "partial-conv", NOW))
    assert grid is not None
    assert grid.titles == ["damaged", "truth", "damaged", "truth"]


def test_the_page_shows_columns_and_says_what_to_look_at(tmp_path: Path) -> None:
    made = report.build(make_store(tmp_path), "partial-conv", NOW)
    assert made.grid is not None
    titles, columns = zip(*made.grid.columns, strict=True)
    assert list(titles) == made.grid.titles
    opened = [Image.open(io.BytesIO(column)) for column in columns]
    assert {one.size for one in opened} == {(128, 8 * 134 - 6)}, "four images, each with its mask or error map"
    assert opened[-1].getpixel((64, 134 + 64))[3] == 0, "the truth has no error map: its place shows the page"
    page = formats.html(made)
    assert "Compare the fillings of “partial convolution” with those of “blind autoencoder”" in page
    assert page.index("Compare the fillings") < page.index("<img")


def detectors(folder: Path, columns: dict[str, float]) -> Report:
    """The report of two detectors with pictures, whose trials have these columns."""

    def detects(plan: dict[str, Any]) -> None:
        plan["task"] = "detect"

    arms = [ArmSpec("a", 25.0, columns=columns), ArmSpec("b", 26.0, columns=columns)]
    store = make_store(folder, arms, [0], [], change=detects)
    for (trial, epochs), result in studies.read(store, "partial-conv", NOW).results.items():
        samples = layout.join("trials", trial, "samples", result["attempt"], epochs)
        store.put(f"{samples}/found.png", strips(0, 25.0)["composite"])
    return report.build(store, "partial-conv", NOW)


def test_boxes_of_detectors_are_explained(tmp_path: Path) -> None:
    made = detectors(tmp_path, {"test/mean_iou": 0.5})
    assert made.grid is not None
    assert made.grid.titles == ["damaged", "a", "b", "truth"]
    page = formats.html(made)
    assert "Green: the true box; red: the predicted box" in page
    assert "Compare the boxes of “b” with those of “a”" in page
    assert "error map" not in page


def test_probabilities_of_detectors_that_give_no_place_are_explained(tmp_path: Path) -> None:
    page = formats.html(detectors(tmp_path, {}))
    assert "Compare the probabilities of “b” with those of “a”" in page
    assert "red" not in page[page.index("Compare the probabilities") : page.index("<img")]


def test_rows_that_no_arm_fills_are_left_out() -> None:
    """Detectors without masks have no heat maps, so that every second row would be empty."""
    tile = Image.new("RGB", (4, 4))
    columns: list[tuple[str, list[Any]]] = [("a", [tile, None, tile, None]), ("truth", [tile, None, tile])]
    assert [len(tiles) for _, tiles in pictures._filled(columns)] == [2, 2]
    columns[0][1][1] = tile
    assert [len(tiles) for _, tiles in pictures._filled(columns)] == [3, 3]
