"""The page in a browser: on paper nothing is cut, on a phone only tables scroll, and figures follow a dark scheme."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator
from typing import Any

import pytest

from analysis.report import build as report
from analysis.report import formats
from tests.analysis.dashboard import browsing
from tests.analysis.make_store import ARMS, NOW, ArmSpec, make_store

A4_PX = 703
"""Width of A4 paper within the page's margins."""
MOST_PAGES = 6
OUTSIDE = """return [...document.querySelectorAll('main *')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .filter(one => !one.closest('.scroll') || arguments[0])
    .map(one => one.outerHTML.slice(0, 80))"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with a report of six arms, one of them with a long name, and of four metrics."""
    browsing.programs()
    folder = tmp_path_factory.mktemp("page")
    named = ArmSpec("a network with a rather long name, as factors of a grid make them", 26.5)

    def four(plan: dict[str, Any]) -> None:
        plan["report"]["metrics"].append("val/psnr_db")

    made = report.build(make_store(folder / "store", (*ARMS, named), range(3), change=four), "partial-conv", NOW)
    [page] = formats.write(made, folder, ["html"])
    with browsing.chromium(folder / "profile") as browser:
        browser.get(page.as_uri())
        yield browser


def test_nothing_is_cut_on_paper(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": A4_PX, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script(OUTSIDE, True) == []
    pdf = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", pdf)) <= MOST_PAGES


def test_only_tables_and_pictures_scroll_on_a_phone(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script(OUTSIDE, False) == []


def test_curves_are_dark_in_a_dark_scheme(opened: Any) -> None:
    """The ground of the drawn figure, pixel by pixel."""
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for scheme, dark in (("dark", True), ("light", False)):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": features})
        level = opened.execute_async_script(
            """const done = arguments[0], image = new Image()
            image.onload = () => {
                const canvas = document.createElement('canvas'), context = canvas.getContext('2d')
                canvas.width = canvas.height = 20
                context.drawImage(image, 0, 0, 400, 400)
                done(context.getImageData(2, 2, 1, 1).data[0])
            }
            image.src = document.querySelector('#curves img').src"""
        )
        assert (level < 60) == dark, f"{scheme}: {level}"


def test_every_table_can_be_copied_as_csv(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    assert opened.execute_script(
        "return document.querySelectorAll('button.copy').length === document.querySelectorAll('table').length"
    )
    text = opened.execute_script(
        "for (const one of document.querySelectorAll('details')) one.open = true;"
        "const copied = []; document.execCommand = () => copied.push(document.activeElement.value);"
        "for (const one of document.querySelectorAll('button.copy')) one.click(); return copied"
    )
    results = list(csv.reader(text[0].splitlines()))
    assert results[0][:3] == ["arm", "test PSNR (dB) ↑", "test PSNR (dB) ↑ ±"]
    assert results[1][0] == "blind autoencoder"
    assert all(float(number) > 0 for number in results[1][1:3])
    for table in text:
        assert len({len(row) for row in csv.reader(table.splitlines())}) == 1, table
