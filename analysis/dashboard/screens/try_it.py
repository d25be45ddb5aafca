"""Applies a trained network to an uploaded image: an inpainter fills a hole, a detector looks for a filled region."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import streamlit as st
from PIL import Image

from analysis.dashboard.auth import access
from analysis.dashboard.context import current
from analysis.dashboard.processes import predict_upload
from analysis.dashboard.settings import UPLOAD_MB
from analysis.dashboard.widgets import drawing, elements

DRAW, RECTANGLE, FILE = "Draw", "Rectangle", "Mask file"
_TASKS = ("inpaint", "detect")
_MOST_TEXT = 1000


def show() -> None:
    elements.title("Try", "a trained network on your own image")
    trial = elements.query_value("trial") or _choose()
    if not trial:
        return
    reader = current().reader
    body = reader.trial(trial)
    if body["task"] not in _TASKS:
        elements.empty_state(f"A trial of task {body['task']} cannot be tried", "Choose one of task inpaint or detect.")
        return
    if not reader.results(trial):
        elements.empty_state("This trial has not finished", "Only finished trials can be tried.")
        return
    _about(trial, body)
    if not access.may_act(current().settings):
        access.show_login_form(
            current().settings, "Trying a network starts a process on this machine, which requires the token."
        )
        return
    given = st.file_uploader("Image", type=list(predict_upload.KINDS), key="image_file", max_upload_size=UPLOAD_MB)
    if given is None:
        elements.note("The image stays on this machine, in a temporary folder that is deleted after the answer.")
        return
    image = predict_upload.open_upload(given.getvalue(), given.name)
    current().predictor.start()  # loads its libraries while the user draws a hole
    if body["task"] == "detect":
        _detect(trial, image)
    else:
        _fill(trial, body["config"], image)


def _choose() -> str:
    """Let the user choose a finished trial: sweep, then arm and seed. '' until one is chosen."""
    reader = current().reader
    names = reader.names()
    if not names:
        elements.no_sweeps()
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
        elements.empty_state("No finished trial yet", "A trial can be tried when it has finished.")
        return ""
    with right:
        return str(options[elements.select_box("Trained trial", list(options), "of")])


def _about(trial: str, body: Mapping[str, Any]) -> None:
    config = body["config"]
    model = config.get("model", {}).get("name", "")
    size = config.get("data", {}).get("size") or config.get("data", {}).get("input_size")
    st.markdown(
        f"**{elements.escape(model)}**, seed {body['seed']}, task {elements.escape(body['task'])}"
        + (f"; images are resized to {size} × {size} px" if size else "")
    )
    with st.container(horizontal=True):
        elements.link("trial", f"trial {trial}", ":material/arrow_forward:", trial=trial)


def _fill(trial: str, config: Mapping[str, Any], image: Image.Image) -> None:
    kind = elements.segments("Hole", [DRAW, RECTANGLE, FILE], "hole")
    left, right = st.columns(2)
    mask: predict_upload.Rectangle | Image.Image | None
    with left:
        if kind == FILE:
            given = st.file_uploader("Mask (white is filled)", type=list(predict_upload.KINDS), key="mask_file")
            mask = None if given is None else predict_upload.open_upload(given.getvalue(), given.name)
            _image(mask or image, "the mask" if mask else "the image")
        elif kind == DRAW:
            mask = drawing.drawing_board(image, f"drawn-{hashlib.sha256(image.tobytes()).hexdigest()[:16]}")
        else:
            mask = _rectangle(image)
            _image(predict_upload.with_hole_outline(image, mask), "the image with its hole")
    with right:
        text = _caption(trial, config)
        tried = _ask(trial, image, mask, "Fill", mask is not None, text)
        if kind == DRAW and mask is None:
            elements.note("Draw the hole on the image with a mouse, pen or finger.")
        if tried:
            _pictures(tried)
            size = config.get("data", {}).get("size")
            elements.note(f"The network fills a copy of {size} × {size} px; the filled hole is enlarged and put back.")


def _caption(trial: str, config: Mapping[str, Any]) -> str:
    """The caption that the user enters, if the network was trained with captions; otherwise ''."""
    captions = config.get("data", {}).get("captions")
    learnt = any(result.get("facts", {}).get("parameters") for result in current().reader.results(trial).values())
    if not captions or not learnt:
        return ""
    text = st.text_input("What the image shows", key="caption", max_chars=_MOST_TEXT, placeholder="no caption")
    template, file = captions.get("template"), captions.get("file") or captions.get("folder")
    words = f"“{template}”" if template else f"as in {file}"
    words += {"shuffled": ", of other images", "none": ", withheld from it"}.get(captions.get("text", "right"), "")
    elements.note(f"The network was trained with captions: {words}. It does not know words outside them.")
    return text.strip()


def _rectangle(image: Image.Image) -> predict_upload.Rectangle:
    """Let the user set the edges of the hole, in px."""
    width, height = image.size
    across = st.slider("From left to right, px", 0, width, (width * 3 // 8, width * 5 // 8), key="across")
    down = st.slider("From top to bottom, px", 0, height, (height * 3 // 8, height * 5 // 8), key="down")
    return across[0], down[0], max(1, across[1] - across[0]), max(1, down[1] - down[0])


def _detect(trial: str, image: Image.Image) -> None:
    left, right = st.columns(2)
    with left:
        _image(image, "the image")
    with right:
        tried = _ask(trial, image, None, "Detect")
        if tried is None:
            return
        _show_detection(tried.detection)
        kind = tried.detection.get("heat_map")
        _pictures(tried, {"box": "the box" if tried.detection.get("box") else "no box", "heat": f"heat map: {kind}"})


def _show_detection(found: Mapping[str, Any]) -> None:
    """Show label, probability and box as text."""
    probability, threshold, box = found.get("probability"), found.get("threshold"), found.get("box")
    sure = f", probability {probability:.3f}" if probability is not None else ""
    above = f" (inpainted if at least {threshold:.3f})" if threshold is not None else ""
    st.markdown(f"**{elements.escape(found.get('label'))}**{elements.escape(sure + above)}")
    edges = ", ".join(f"{edge:.0f}" for edge in box) if box else ""
    st.markdown(f"Box (x1, y1, x2, y2), px: {edges}" if box else "No box.")


def _pictures(tried: predict_upload.UploadResult, captions: Mapping[str, str] | None = None) -> None:
    for kind, png in tried.pictures.items():
        words = (captions or {}).get(kind, kind)
        _image(png, words, words)


def _image(image: Image.Image | bytes, alt: str, caption: str | None = None) -> None:
    """Show an image as wide as the drawing board, or as the page if that is narrower."""
    with st.container(width=drawing.SHOWN_PX):
        st.image(image, caption=caption, width="stretch", alt=alt)


def _ask(
    trial: str,
    image: Image.Image,
    mask: predict_upload.Rectangle | Image.Image | None,
    words: str,
    ready: bool = True,
    text: str = "",
) -> predict_upload.UploadResult | None:
    """The answer to a request: made on a click, and kept while trial, image, hole and text stay the same."""
    question = (trial, image.tobytes(), mask.tobytes() if isinstance(mask, Image.Image) else mask, text)
    if st.button(words, type="primary", icon=":material/brush:", disabled=not ready, key="ask"):
        with st.spinner("Asking the network. Loading it takes some seconds the first time."):
            found = predict_upload.run(current().settings, current().predictor, trial, image, mask, text)
            st.session_state["tried"] = (hash(question), found)
    kept = st.session_state.get("tried")
    answer: predict_upload.UploadResult | None = kept[1] if kept and kept[0] == hash(question) else None
    return answer
