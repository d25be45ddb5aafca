"""Try a trained network: an inpainter fills a hole in an image, a detector says whether and where one was filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from PIL import Image

from analysis.dashboard import access, parts, trying
from analysis.dashboard.context import current
from analysis.dashboard.settings import UPLOAD_MB

RECTANGLE, FILE = "Rectangle", "Mask file"
_TASKS = ("inpaint", "detect")
_WIDE = 420


def show() -> None:
    parts.title("Try", "a trained network on an image of yours")
    trial = parts.asked("trial") or _choose()
    if not trial:
        return
    reader = current().reader
    body = reader.trial(trial)
    if body["task"] not in _TASKS:
        parts.empty(f"A trial of task {body['task']} cannot be tried", "Choose one of task inpaint or detect.")
        return
    if not reader.results(trial):
        parts.empty("This trial has not finished", "Only finished trials can be tried.")
        return
    _about(trial, body)
    if not access.knows_token():
        access.ask(
            current().settings, "A try starts a process on this machine, so it needs the token of the dashboard."
        )
        return
    given = st.file_uploader("Image", type=list(trying.KINDS), key="image_file", max_upload_size=UPLOAD_MB)
    if given is None:
        parts.note("The image stays on this machine: in a temporary folder that is deleted after the answer.")
        return
    image = trying.opened(given.getvalue(), given.name)
    if body["task"] == "detect":
        _detect(trial, image)
    else:
        _fill(trial, image)


def _choose() -> str:
    """A finished trial of a sweep: sweep, then arm and seed."""
    reader = current().reader
    names = reader.names()
    if not names:
        parts.no_sweeps()
        return ""
    left, right = st.columns(2)
    with left:
        sweep = st.selectbox("Sweep", names, index=None, placeholder="Choose a sweep", key="sweep", bind="query-params")
    if not sweep:
        return ""
    plan, states = reader.plan(sweep), reader.states(sweep)
    options = {
        f"{arm['name']}, seed {seed}": trial["id"]
        for arm in plan["arms"]
        for seed, trial in arm["trials"].items()
        if states[trial["id"]].reached
    }
    if not options:
        parts.empty("No finished trial yet", "A trial can be tried when it has finished.")
        return ""
    with right:
        return str(options[parts.box("Trained trial", list(options), "of")])


def _about(trial: str, body: Mapping[str, Any]) -> None:
    config = body["config"]
    model = config.get("model", {}).get("name", "")
    size = config.get("data", {}).get("size") or config.get("data", {}).get("input_size")
    st.markdown(
        f"**{parts.plain(model)}**, seed {body['seed']}, task {parts.plain(body['task'])}"
        + (f": images are made {size} × {size} px for it" if size else "")
    )
    with st.container(horizontal=True):
        parts.link("trial", f"trial {trial}", ":material/arrow_forward:", trial=trial)


def _fill(trial: str, image: Image.Image) -> None:
    kind = parts.segments("Hole", [RECTANGLE, FILE], "hole")
    left, right = st.columns(2)
    mask: trying.Rectangle | Image.Image | None
    with left:
        if kind == FILE:
            given = st.file_uploader("Mask: white is what is filled", type=list(trying.KINDS), key="mask_file")
            mask = None if given is None else trying.opened(given.getvalue(), given.name)
            st.image(mask or image, width=_WIDE, alt="the mask" if mask else "the image")
        else:
            mask = _rectangle(image)
            st.image(trying.outlined(image, mask), width=_WIDE, alt="the image with its hole")
    with right:
        tried = _ask(trial, image, mask, "Fill", disabled=mask is None)
        if tried:
            for words, png in tried.pictures.items():
                st.image(png, caption=words, width=_WIDE, alt=words)


def _rectangle(image: Image.Image) -> trying.Rectangle:
    """The hole by its edges, in px."""
    width, height = image.size
    across = st.slider("From left to right, px", 0, width, (width * 3 // 8, width * 5 // 8), key="across")
    down = st.slider("From top to bottom, px", 0, height, (height * 3 // 8, height * 5 // 8), key="down")
    return across[0], down[0], max(1, across[1] - across[0]), max(1, down[1] - down[0])


def _detect(trial: str, image: Image.Image) -> None:
    left, right = st.columns(2)
    left.image(image, width=_WIDE, alt="the image")
    with right:
        tried = _ask(trial, image, None, "Look for a fill")
        if tried is None:
            return
        label, probability = tried.found.get("label"), tried.found.get("probability")
        if label is not None:
            sure = f", probability {probability:.3f}" if isinstance(probability, (int, float)) else ""
            st.markdown(f"**{parts.plain(label)}**{parts.plain(sure)}")
        box = tried.found.get("box")
        st.markdown(f"Box (x1, y1, x2, y2): {parts.plain(box)}" if box else "No box.")
        for words, png in tried.pictures.items():
            st.image(png, caption=words, width=_WIDE, alt=words)


def _ask(
    trial: str, image: Image.Image, mask: trying.Rectangle | Image.Image | None, words: str, disabled: bool = False
) -> trying.Tried | None:
    """The answer to this question: asked at a click, and kept while image and hole stay the same."""
    question = (trial, image.tobytes(), mask.tobytes() if isinstance(mask, Image.Image) else mask)
    if st.button(words, type="primary", icon=":material/brush:", disabled=disabled, key="ask"):
        with st.spinner("A child process loads the network; the first time takes some seconds."):
            st.session_state["tried"] = (hash(question), trying.run(current().settings, trial, image, mask))
    kept = st.session_state.get("tried")
    answer: trying.Tried | None = kept[1] if kept and kept[0] == hash(question) else None
    return answer
