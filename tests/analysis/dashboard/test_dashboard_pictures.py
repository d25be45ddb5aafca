"""Pictures on the dashboard's pages: of a sweep's arms, of detectors, one image enlarged."""

from __future__ import annotations

from pathlib import Path

from sweeps.store import layout
from sweeps.store import plans as stored_plans
from sweeps.store.local import FolderStore
from tests.analysis import make_store
from tests.analysis.dashboard.test_dashboard import Open, store, visit, words

__all__ = ["store", "visit"]


def images(page: object) -> list[str]:
    """Captions of a page's images, '' for those without one."""
    return [image.caption for one in page.get("image") for image in one.proto.imgs]  # type: ignore[attr-defined]


def test_a_sweep_shows_every_arm_by_images(store: FolderStore, visit: Open) -> None:
    plan = stored_plans.require_plan(store, "partial-conv")
    trial = plan["arms"][1]["trials"]["0"]["id"]
    for kind, png in make_store.strips(1, 20.0).items():  # an earlier epoch of one arm
        store.put(layout.join("trials", trial, "samples", "0001-abcdef", 4, f"{kind}.png"), png)
    page = visit("sweep", sweep="partial-conv", view="Pictures")
    assert not page.exception
    assert images(page) == [""], "one grid"
    assert "Below each image is its error map" in words(page)
    assert [one.label for one in page.select_slider] == ["Epoch"]
    assert page.select_slider[0].value == make_store.EPOCHS
    page = visit("sweep", sweep="partial-conv", view="Pictures", zoom="image 2", epoch="4")
    shown = [caption.replace("\\", "") for caption in images(page)]
    assert shown == [
        "damaged",
        "partial convolution",
        "partial convolution, map",
        *(f"{arm}{kind}" for arm in ("mean fill", "telea") for kind in ("", ", map")),
        "truth",
    ], "arms without training have one evaluation; the others had no pictures by then"


def test_detectors_show_boxes_heat_maps_and_their_worst_images(tmp_path: Path, visit: Open) -> None:
    found = make_store.make_store(tmp_path / "store", make_store.ARMS[:2], range(1), [])
    strip = make_store.strips(1, 20.0)["truth"]
    plan = stored_plans.require_plan(found, "partial-conv")
    ids = [arm["trials"]["0"]["id"] for arm in plan["arms"]]
    for trial in ids:
        (folder,) = {key.rpartition("/")[0] for key in found.find([f"trials/{trial}/samples/"])}
        found.delete(list(found.find([f"{folder}/"])))
        for kind in ("truth", "found", "heat", "worst-truth", "worst-found"):
            found.put(f"{folder}/{kind}.png", strip)
    page = visit("trial", trial=ids[0], view="Pictures")
    assert not page.exception
    assert images(page) == ["", ""]
    assert "true boxes, found boxes, heat map" in words(page)
    assert "Worst test images" in [one.value for one in page.subheader]
    assert "Rows from the top: true boxes, found boxes." in words(page), "its worst images have no heat map"
    for page in (
        visit("sweep", sweep="partial-conv", view="Pictures"),
        visit("compare", sweep="partial-conv", view="Pictures"),
    ):
        assert not page.exception
        assert images(page) == [""]
        assert "Green: the true box" in words(page)
