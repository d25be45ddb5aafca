"""The dashboard on a store with a damaged object: every page opens, and shows no other numbers unless it says why."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.util import calc_hash

from analysis.dashboard import app, settings
from analysis.dashboard.settings import DashboardSettings
from sweeps.store import layout, record_cache
from sweeps.store.local import FolderStore
from tests.analysis import make_store
from tests.analysis.make_store import ArmSpec
from tests.apptests import AppTest
from tests.cluster import damage

NAME, TOKEN = "partial-conv", "a-token-of-the-tests"
ARMS = (ArmSpec("blind", 24.0), ArmSpec("partial", 27.0, set={"model.name": "partial_conv_unet"}))
CLAIM = {"text": "it is better", "metric": "test/psnr_db", "better": "partial", "than": "blind", "by": 0.0}
Shown = tuple[str, str, float]
"""The error of a page, its text without what depends on the time of day, and the seconds that it took."""
Visit = Callable[[str], Shown]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setattr(make_store, "NOW", time.time())
    made = make_store.make_store(tmp_path / "store", ARMS, range(2), [CLAIM])
    record_cache.refresh(made, NAME)
    return made


@pytest.fixture
def visit(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Open a page in a new server. Its text ends with what the server logs."""
    given = DashboardSettings(store.uri, TOKEN, False)
    monkeypatch.setenv(settings.VARIABLE, json.dumps(given.__dict__))
    trial = some_trial(store)

    def open_page(page: str) -> Shown:
        st.cache_resource.clear()
        layout._reported.clear()
        name, _, view = page.partition(" ")
        shown = AppTest.from_file(str(Path(app.__file__)), default_timeout=60)
        for key, value in {"sweep": NAME, "trial": trial, "token": TOKEN, **({"view": view} if view else {})}.items():
            shown.query_params[key] = value
        if name:
            shown._page_hash = calc_hash(name)
        began = time.monotonic()
        shown.run()
        took = time.monotonic() - began
        texts = [one.value for one in (*shown.title, *shown.markdown, *shown.caption, *shown.text, *shown.error)]
        texts += [one.value.to_string() for one in shown.dataframe]
        text = re.sub(r"(\d+ (seconds?|minutes?|hours?|s|min|h) ago|…)", "", "\n".join(map(str, texts)))
        return "\n".join(one.message for one in shown.exception), text, took

    return open_page


PAGES = ("sweep Cells", "sweep Table", "sweep Claims", "trial", "report", "compare")


def some_trial(store: FolderStore) -> str:
    return next(key for key in store.keys("trials/") if "/result/" in key).split("/")[1]


def objects(store: FolderStore) -> list[str]:
    return [key for key in store.keys("") if not key.endswith((".png", ".txt", "summary.json"))]


def faults(
    store: FolderStore,
    visit: Visit,
    cases: list[tuple[str, damage.Damage, list[str]]],
    caplog: pytest.LogCaptureFixture,
) -> list[str]:
    """What goes wrong on pages when objects are damaged, one at a time. cases: with the pages to open."""
    chance, found = random.Random(5), []
    clean = {page: visit(page) for page in sorted({page for _, _, pages in cases for page in pages})}
    assert all(error == "" for error, _, _ in clean.values()), clean
    copy = store.get(record_cache.key_of(NAME))
    for key, kind, pages in cases:
        with damage.damaged(store, key, kind, chance):
            for page in pages:
                caplog.clear()
                error, text, took = visit(page)
                named = "damaged" in text or "damaged" in caplog.text
                where = f"{page} with {kind.__name__} of {key}"
                found += [f"{where}: {error}"] if error else []
                found += [f"{where}: {took:.0f} s"] if took > 10 + 10 * clean[page][2] else []
                found += [f"{where}: another page, and no damage named"] if text != clean[page][1] and not named else []
        store.put(record_cache.key_of(NAME), copy)
    return found


def test_no_page_hides_a_damaged_object(store: FolderStore, visit: Visit, caplog: pytest.LogCaptureFixture) -> None:
    """Three damages; the slow test has all of them."""
    caplog.set_level(logging.WARNING)
    result = next(key for key in objects(store) if "/result/" in key)
    cases = [
        (result, damage.flip_bit, ["report"]),
        (record_cache.key_of(NAME), damage.cut_short, ["sweep Table"]),
        (layout.trial_key(some_trial(store)), damage.wrong_shape, ["trial"]),
    ]
    assert faults(store, visit, cases, caplog) == []


@pytest.mark.slow
def test_no_damage_to_any_object_is_hidden_on_a_page(
    store: FolderStore, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    cases = [(key, kind, list(PAGES)) for key in objects(store) for kind in damage.DAMAGES]
    assert faults(store, visit, cases, caplog) == []


def test_two_parts_of_a_page_may_have_the_same_error() -> None:
    def page() -> None:
        from analysis.dashboard.widgets import elements
        from sweeps.errors import SweepError

        for _ in range(2):
            elements.show_error(SweepError("sweep 'x'", "it is damaged", "an intact sweep", "run it again"))

    shown = AppTest.from_function(page, default_timeout=60).run()
    assert not shown.exception
    assert sum("it is damaged" in text.value for text in shown.markdown) == 2
