"""The same evaluation images of several arms or trials beside each other, and one of them enlarged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from PIL.Image import Image, Resampling

from analysis import wording
from analysis.dashboard.context import current
from analysis.dashboard.data import samples
from analysis.dashboard.widgets import elements, image_slider
from analysis.report.sections import pictures
from analysis.study import Study

Strips = Mapping[str, Image]
"""The strips of one trial by kind, see `samples.strips`."""
Column = tuple[str, Image, Image | None]
ALL = "all images"
BOXES = "Green: the true box; red: the box of a detector that gives one; in the corner: its probability."
_DAMAGED, _TRUTH = "damaged", "truth"
_SIDE = 352
"""Width of an enlarged image, px: three beside each other, one on a phone."""


def of_sweep(study: Study, arms: list[str]) -> None:
    """The pictures of a sweep's arms with one seed, up to a chosen epoch; those of running trials too."""
    seeds = [str(seed) for seed in study.seeds]
    seed = int(elements.select_box("Seed", seeds, "seed") if len(seeds) > 1 else seeds[0])
    of_trials({name: study.arm(name).trials[seed][0] for name in arms if seed in study.arm(name).trials})


def of_trials(trials: Mapping[str, str]) -> None:
    """The pictures of trials, up to a chosen epoch. trials: {name: id}"""
    store = current().reader.store
    folders = samples.epochs_of(store, trials.values())
    known = sorted({epoch for of_trial in folders.values() for epoch in of_trial if epoch})
    last = known[-1] if known else 0
    if len(known) > 1:
        last = st.select_slider("Epoch", known, value=last, key="epoch", bind="query-params")
    found: dict[str, Strips] = {}
    without = []
    for name, trial in trials.items():
        epoch = max((epoch for epoch in folders[trial] if epoch <= last), default=None)
        if epoch is None:
            without.append(name)
        else:
            title = name if epoch in (0, last) else f"{name} (epoch {epoch})"
            found[title] = samples.strips(store, folders[trial][epoch])
    if without and found:
        elements.note(f"Without pictures: {wording.listing(map(wording.quoted, without))}.")
    show(found)


def show(found: Mapping[str, Strips]) -> None:
    """A column for each arm or trial and a row for each image. found: {name: strips}."""
    found = {name: strips for name, strips in found.items() if samples.rows(strips)}
    if not found:
        elements.empty_state(
            "No pictures yet", "A trial saves pictures of its evaluation images after epochs 1, 2, 4, 8 and so on."
        )
        return
    first = next(iter(found.values()))
    other = [name for name, strips in found.items() if not same_inputs(strips, first)]
    if other:
        elements.note(f"Left out because of different images or masks: {wording.listing(map(wording.quoted, other))}.")
    found = {name: strips for name, strips in found.items() if name not in other}
    columns = _columns(found, first)
    number = samples.number(first)
    chosen = elements.select_box("Zoom", [ALL, *(f"image {at}" for at in range(number))], "zoom")
    if chosen == ALL:
        maps = any(lower is not None for _, _, lower in columns)
        tiles = [
            (title, pictures.interleave(upper, lower, number) if maps else pictures.cut_tiles(upper, number))
            for title, upper, lower in columns
        ]
        st.image(pictures.assemble_grid(tiles), alt="the same images of each arm or trial")
    else:
        _enlarged(columns, int(chosen.rpartition(" ")[2]))
    if "found" in first:
        heat = any("heat" in strips for strips in found.values())
        elements.note(f"{BOXES} Below: the heat map of a detector that predicts masks." if heat else BOXES)
    else:
        elements.note(
            f"Below each image is its error map: white is zero, the darkest red {pictures.DARKEST:g} of the range or "
            "more."
        )
    _overlay(columns, number, 0 if chosen == ALL else int(chosen.rpartition(" ")[2]))


def _columns(found: Mapping[str, Strips], first: Strips) -> list[Column]:
    """(title, images, error or heat maps) of each column: damaged, arms, truth."""
    columns: list[Column] = []
    if "damaged" in first:
        columns.append((_DAMAGED, first["damaged"], None))
    for name, strips in found.items():
        if "found" in strips:
            columns.append((name, strips["found"], strips.get("heat")))
        else:
            columns.append((name, strips["composite"], pictures.errors(strips["composite"], strips.get("truth"))))
    if "truth" in first:
        columns.append((_TRUTH, first["truth"], None))
    return columns


def _enlarged(columns: list[Column], at: int) -> None:
    """One image of each column over its map, as large as the page permits."""
    with st.container(horizontal=True):
        for title, upper, lower in columns:
            with st.container(width=_SIDE):
                for strip, words in ((upper, title), (lower, f"{title}, map")):
                    side = strip.height if strip is not None else 0
                    if strip is not None and (at + 1) * side <= strip.width:
                        tile = strip.crop((at * side, 0, (at + 1) * side, side))
                        shown = tile.resize((_SIDE, _SIDE), Resampling.NEAREST)
                        st.image(shown, caption=elements.escape(words), width="stretch", alt=words)


def _overlay(columns: Sequence[Column], number: int, at: int) -> None:
    """Two of the columns on top of each other, to wipe between them or let them blink. at: which of `number` images."""
    strips = {title: strip for title, strip, _ in columns}
    if len(strips) < 2:
        return
    elements.heading(f"Image {at}: wipe or blink")
    arms = [title for title in strips if title not in (_DAMAGED, _TRUTH)]
    order = list(dict.fromkeys([*arms, *strips]))
    left, right = st.columns([2, 3])
    with right:
        one = elements.select_box("Left", order, "left")
        two = elements.select_box("Right", [title for title in order if title != one], "right")
    with left:
        tiles = [pictures.cut_tiles(strips[title], number)[at] for title in (one, two)]
        page = image_slider.slider_page((one, tiles[0]), (two, tiles[1]))
        with st.container(width=image_slider.WIDTH):
            st.iframe(page, height=image_slider.HEIGHT)


def same_inputs(one: Strips, other: Strips) -> bool:
    """Whether two trials have samples of the same images with the same holes."""
    shared = [kind for kind in ("truth", "damaged") if kind in one or kind in other]
    return all(
        kind in one
        and kind in other
        and one[kind].size == other[kind].size
        and np.array_equal(np.asarray(one[kind]), np.asarray(other[kind]))
        for kind in shared
    )
