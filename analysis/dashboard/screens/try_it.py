"""Applies a trained network to an uploaded image: an inpainter fills a hole, a detector looks for a filled region."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import streamlit as st
from PIL import Image

from analysis.dashboard.auth import access
from analysis.dashboard.context import current
from analysis.dashboard.data import samples
from analysis.dashboard.processes import predict_upload
from analysis.dashboard.settings import UPLOAD_MB
from analysis.dashboard.widgets import drawing, elements

DRAW, RECTANGLE, FILE = "Draw", "Rectangle", "Mask file"
_NONE = "no image"
_MOST_OTHERS = 5
"""Maximum number of further trials that are asked with the same image."""
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
    image = _given_image(trial)
    if image is None:
        return
    current().predictor.start()  # loads its libraries while the user draws a hole
    if body["task"] == "detect":
        _detect(trial, image)
    else:
        _fill(trial, body["config"], image)


def _given_image(trial: str) -> Image.Image | None:
    """The image that the user uploads, or one of the trial's own evaluation images; None until there is one."""
    given = st.file_uploader("Image", type=list(predict_upload.KINDS), key="image_file", max_upload_size=UPLOAD_MB)
    if given is not None:
        return predict_upload.open_upload(given.getvalue(), given.name)
    reader = current().reader
    folders = samples.epochs(reader.store, trial)
    strips = samples.strips(reader.store, folders[max(folders)]) if folders else {}
    strip = strips.get("truth") if "composite" in strips else None  # a detector's has boxes drawn into it
    elements.note("The image stays on this machine, in a temporary folder that is deleted after the answer.")
    if strip is None:
        return None
    number = strip.width // strip.height
    names = [_NONE, *(f"test image {at}" for at in range(number))]
    chosen = elements.select_box("Or start with", names, "sample")
    if chosen == _NONE:
        return None
    at = int(chosen.rpartition(" ")[2]) * strip.height
    return strip.crop((at, 0, at + strip.height, strip.height))


def _others(trial: str, task: str) -> dict[str, str]:
    """{name: id} of further trials that the user wants to ask too, from the sweep of the address."""
    reader, name = current().reader, elements.query_value("sweep")
    if not name or name not in reader.names():
        return {}
    states = reader.states(name)
    plan = reader.plan(name)
    known = {
        f"{arm['name']}, seed {seed}": one["id"]
        for arm in plan["arms"]
        for seed, one in arm["trials"].items()
        if plan["task"] == task and one["id"] != trial and states[one["id"]].reached
    }
    chosen = st.multiselect("Ask these too", list(known), max_selections=_MOST_OTHERS, key="others")
    return {words: known[words] for words in chosen}


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
    arm = _arm(trial)
    words = f"{arm}** ({elements.escape(model)})" if arm else f"{elements.escape(model)}**"
    st.markdown(
        f"**{words}, seed {body['seed']}, task {elements.escape(body['task'])}"
        + (f"; trained on images of {size} × {size} px" if size else "")
    )
    with st.container(horizontal=True):
        elements.link("trial", f"trial {trial}", ":material/arrow_forward:", trial=trial)


def _arm(trial: str) -> str:
    """The name of the trial's arm in the sweep of the address, for Markdown; '' if the address names none."""
    reader, name = current().reader, elements.query_value("sweep")
    arms = reader.plan(name)["arms"] if name in reader.names() else []
    found = (arm["name"] for arm in arms if any(one["id"] == trial for one in arm["trials"].values()))
    return elements.escape(next(found, ""))


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
        trials = {"": trial, **_others(trial, "inpaint")}
        tried = _ask(trials, image, mask, "Fill", mask is not None, text)
        if kind == DRAW and mask is None:
            elements.note("Draw the hole on the image with a mouse, pen or finger.")
        if tried:
            _several(tried)


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
        tried = _ask({"": trial, **_others(trial, "detect")}, image, None, "Detect")
        if tried is None:
            return
        for name, answer in tried.items():
            if name:
                elements.heading(name)
            _show_detection(answer.detection)
            box = "the box" if answer.detection.get("box") else "no box"
            _pictures(answer, {"box": box, "heat": f"heat map: {answer.detection.get('heat_map')}"}, name)


def _show_detection(found: Mapping[str, Any]) -> None:
    """Show label, probability and box as text."""
    probability, threshold, box = found.get("probability"), found.get("threshold"), found.get("box")
    sure = f", probability {probability:.3f}" if probability is not None else ""
    above = f" (inpainted if at least {threshold:.3f})" if threshold is not None else ""
    st.markdown(f"**{elements.escape(found.get('label'))}**{elements.escape(sure + above)}")
    edges = ", ".join(f"{edge:.0f}" for edge in box) if box else ""
    st.markdown(f"Box (x1, y1, x2, y2), px: {edges}" if box else "No box.")
    chosen, windows = found.get("threshold_chosen") or {}, found.get("windows")
    if windows:
        count = len(windows["tops"]) * len(windows["lefts"])
        elements.note(f"The highest of {count:,} windows of {windows['window_px']:.4g} px decides.")
    if statement := chosen.get("statement"):
        elements.note(f"The threshold is {statement}.")


def _several(tried: Mapping[str, predict_upload.UploadResult]) -> None:
    """The pictures of each trial that was asked, with its name if there are several."""
    for name, answer in tried.items():
        if name:
            elements.heading(name)
        _pictures(answer, None, name)
        if note := answer.detection.get("note"):
            elements.note(f"{str(note)[:1].upper()}{str(note)[1:]}.")


def _pictures(tried: predict_upload.UploadResult, captions: Mapping[str, str] | None = None, name: str = "") -> None:
    for kind, png in tried.pictures.items():
        words = (captions or {}).get(kind, kind)
        _image(png, words, words)
        file = f"{name} {kind}".strip().replace(" ", "-") + ".png"
        st.download_button(
            f"Download {kind}",
            png,
            file,
            "image/png",
            icon=":material/download:",
            on_click="ignore",
            key=f"save-{file}",
        )


def _image(image: Image.Image | bytes, alt: str, caption: str | None = None) -> None:
    """Show an image as wide as the drawing board, or as the page if that is narrower."""
    with st.container(width=drawing.SHOWN_PX):
        st.image(image, caption=caption, width="stretch", alt=alt)


def _ask(
    trials: Mapping[str, str],
    image: Image.Image,
    mask: predict_upload.Rectangle | Image.Image | None,
    words: str,
    ready: bool = True,
    text: str = "",
) -> dict[str, predict_upload.UploadResult] | None:
    """Answers by name: made on a click, and kept while trials, image, hole and text stay the same.

    trials: {name: id}
    """
    drawn = mask.tobytes() if isinstance(mask, Image.Image) else mask
    question = hash((tuple(trials.items()), image.tobytes(), drawn, text))
    if st.button(words, type="primary", icon=":material/brush:", disabled=not ready, key="ask"):
        with st.spinner("Asking the network. Loading it takes some seconds the first time."):
            shared = current()
            found = {
                name: predict_upload.run(shared.settings, shared.predictor, trial, image, mask, text)
                for name, trial in trials.items()
            }
            st.session_state["tried"] = (question, found)
    kept = st.session_state.get("tried")
    answer: dict[str, predict_upload.UploadResult] | None = kept[1] if kept and kept[0] == question else None
    return answer
