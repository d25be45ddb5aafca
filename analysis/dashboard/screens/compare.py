"""Compares two to six arms or trials: configurations, code, curves, sample pictures, and single test images."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.dashboard.context import current
from analysis.dashboard.data.reader import history
from analysis.dashboard.widgets import buttons, code, configuration, curves, elements, notes, picture_grid
from analysis.report.sections import images
from analysis.study import Study
from sweeps.errors import SweepError
from sweeps.protocols import results as protocol_results
from sweeps.protocols.identity import differences

ARMS, TRIALS = "Arms of a sweep", "Trials"
CURVES, CONFIG, CODE = "Curves", "Configuration", "Code"
PICTURES, IMAGES = "Pictures", "Worst images"
_LEAST, _MOST = 2, 6
_TRIALS = "trials"
"""Key of the ids in the address."""
_KNOWN = "compare_known"
"""Key of the sweep and the name of trials that were compared, in the session."""


@dataclass(frozen=True)
class ComparedItem:
    """An arm or a trial in the comparison."""

    name: str
    """Label."""
    arm: str
    """Name of the arm; '' for a trial given by its id."""
    trial: str
    """Id of the trial with the pictures; '' if no trial of the arm has finished."""
    config: Mapping[str, Any]


def show() -> None:
    name = elements.query_value("sweep")
    what = f"Compare arms of {name}" if name else "Compare"
    elements.title(what, "two to six arms of a sweep, or trials of any sweep")
    kind = elements.segments("What", [ARMS, TRIALS], "what")
    study: Study | None = None
    if kind == ARMS:
        if not name:
            elements.pick_sweep()
            return
        study = current().reader.study(current().reader.check(name))
        for note in study.all_notes:
            st.warning(note, icon=":material/history:")
        items = _arms(study)
    else:
        items = _trials()
        for words in _rated_differently(items):
            st.warning(words, icon=":material/rule:")
    if len(items) < _LEAST:
        elements.empty_state("Choose at least two", "Up to six can be compared.")
        return
    views = [CURVES, CONFIG, CODE, PICTURES] + ([IMAGES] if study else [])
    chosen = elements.segments("View", views, "view")
    if chosen == CONFIG:
        _config(items)
    elif chosen == CODE:
        code.difference({item.name: item.config for item in items})
    elif chosen == CURVES:
        _curves(items, study)
    elif chosen == PICTURES:
        _pictures(items)
    elif study:
        arms = [item.arm for item in items]
        if st.toggle("Read the scores of each test image", key="single", bind="query-params"):
            busy = any(child.running for child in current().children.of(study.name))
            elements.auto_refresh(lambda: _images(name, arms, busy), elements.LIVE_S if busy else elements.STILL_S)
        else:
            elements.note("This reads a few hundred kilobytes per trial.")
    if study:
        notes.section(study.name, "compare")


def _arms(study: Study) -> list[ComparedItem]:
    left, right = st.columns([5, 1])
    base = [study.baseline, *(name for name in study.names if name != study.baseline)][:_LEAST]
    with left:
        chosen = st.multiselect(
            "Arms", study.names, default=base, max_selections=_MOST, key="arms", bind="query-params"
        )
    with right:
        seed = int(elements.select_box("Seed of the pictures", [str(seed) for seed in study.seeds], "seed"))
    items = []
    for name in chosen:
        arm = study.arm(name)
        done = [s for s, key in arm.trials.items() if key in study.results]
        shown = seed if seed in done else next(iter(done), None)
        label = name if shown in (seed, None) else f"{name} (seed {shown})"
        items.append(ComparedItem(label, name, arm.trials[shown][0] if shown is not None else "", arm.config))
    return items


def _trials() -> list[ComparedItem]:
    """The trials that the address names, after a form that adds one by sweep, arm and seed."""
    _add_trial()
    chosen = st.container(horizontal=True, key="chosen")
    with st.expander("Trials by their ids"):
        given = st.text_input("Trial ids, separated by spaces", key=_TRIALS, bind="query-params")
    ids = list(dict.fromkeys(given.replace(",", " ").split()))[:_MOST]
    bodies = {trial: current().reader.trial(trial) for trial in ids}
    names = _names(bodies)
    for trial, name in names.items():
        words, said = elements.escape(name), f"Remove {name}"
        chosen.button(words, icon=":material/close:", key=f"-{trial}", help=said, on_click=_remove, args=(trial,))
    return [ComparedItem(names[trial], "", trial, body["config"]) for trial, body in bodies.items()]


def _names(bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names of trials: arm and seed, with the sweep if there are several; the model and the id if no plan has it."""
    known: dict[str, tuple[str, str]] = st.session_state.setdefault(_KNOWN, {})
    known |= _places([trial for trial in bodies if trial not in known])
    several = len({known[trial][0] for trial in bodies}) > 1
    names = {}
    for trial, body in bodies.items():
        sweep, name = known[trial]
        if sweep:
            names[trial] = f"{sweep}: {name}" if several else name
        else:
            names[trial] = f"{body['config'].get('model', {}).get('name', 'trial')}, seed {body['seed']}, {trial[:6]}"
    return names


def _words(arm: str, seeds: Sequence[str]) -> str:
    """'Telea' if one trial serves several seeds, otherwise 'base, seed 0'."""
    return arm if len(seeds) > 1 else f"{arm}, seed {seeds[0]}"


def _places(trials: Collection[str]) -> dict[str, tuple[str, str]]:
    """{id: (sweep, arm and seed)} of trials, from the newest plans; empty texts if none has it."""
    reader = current().reader
    found: dict[str, tuple[str, str]] = {}
    for sweep in reader.names():
        if len(found) == len(trials):
            break
        with contextlib.suppress(SweepError):  # the plan of another sweep cannot be read
            for arm in reader.plan(sweep)["arms"]:
                by_seed = {seed: one["id"] for seed, one in arm["trials"].items()}
                for trial in set(by_seed.values()).intersection(trials):
                    found[trial] = (sweep, _words(arm["name"], [seed for seed in by_seed if by_seed[seed] == trial]))
    return {trial: found.get(trial, ("", "")) for trial in trials}


def _rated_differently(items: Sequence[ComparedItem]) -> list[str]:
    """What the protocols of trials differ in from that of the first one; nothing if they have one, or none."""
    rated = [(item.name, item.config["protocol"]) for item in items if item.config.get("protocol")]
    found = []
    for name, section in rated[1:]:
        first, other = rated[0]
        if section["hash"] != other["hash"]:
            different = "; ".join(differences(other["evaluation"], section["evaluation"]))
            found.append(
                f"Columns “on protocol” do not compare: {first} was rated by {protocol_results.named(other)}, "
                f"{name} by {protocol_results.named(section)}, which differ in {different}."
            )
    return found


def _add_trial() -> None:
    """Choose a trial by name; a button adds it to the comparison."""
    reader = current().reader
    names = reader.names()
    if not names:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sweep = str(st.selectbox("Sweep", names, key="add_sweep"))
        arms = {arm["name"]: arm["trials"] for arm in reader.plan(sweep)["arms"] if arm["trials"]}
        arm = str(st.selectbox("Arm", list(arms), key="add_arm"))
        seed = str(st.selectbox("Seed", list(arms.get(arm, {})), key="add_seed"))
        trial = arms.get(arm, {}).get(seed, {}).get("id", "")
        of_trial = [seed for seed, one in arms.get(arm, {}).items() if one["id"] == trial]
        added = (trial, sweep, _words(arm, of_trial) if trial else "")
        st.button("Add", icon=":material/add:", key="add", disabled=not trial, on_click=_append, args=added)


def _append(trial: str, sweep: str, name: str) -> None:
    st.session_state.setdefault(_KNOWN, {})[trial] = (sweep, name)
    st.session_state[_TRIALS] = f"{st.session_state.get(_TRIALS) or ''} {trial}".strip()


def _remove(trial: str) -> None:
    left = [one for one in str(st.session_state.get(_TRIALS) or "").replace(",", " ").split() if one != trial]
    st.session_state[_TRIALS] = " ".join(left)


def _config(items: Sequence[ComparedItem]) -> None:
    only = st.toggle("Differences only", value=True, key="differences", bind="query-params")
    table, marks = configuration.comparison_table({item.name: item.config for item in items}, items[0].name, only)
    if table.empty:
        elements.empty_state("No difference", "All have the same configuration.")
        return
    st.dataframe(
        table.style.apply(lambda _: marks, axis=None), hide_index=True, height=elements.table_height(len(table))
    )
    elements.note(f"Differences from {wording.quoted(items[0].name)} are marked.")


def _curves(items: Sequence[ComparedItem], study: Study | None) -> None:
    reader = current().reader
    if study is not None:
        known = curves.columns(study)
        if study.records.empty or not known:
            elements.empty_state("No curve yet", "Curves appear when the first trial has finished.")
            return
    else:
        histories = {item.name: history(reader, item.trial, reader.results(item.trial), None) for item in items}
        found = sorted({name for one in histories.values() for name in one} - {"epoch"})
        known = sorted(found, key=lambda name: (not name.startswith("val/psnr"), not name.startswith("val/"), name))
        if not known:
            elements.empty_state("No curve yet", "None of these trials has saved a record.")
            return
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        column = elements.select_box("Metric", known, "curve", wording.label)
    log = right.toggle("Log axis", key="log", bind="query-params")
    if study is not None:
        names = [item.arm for item in items]
        figure, _ = curves.study_figure(study, column, names, False, 1, log, elements.is_dark())
    else:
        figure = curves.histories_figure(histories, column, elements.is_dark(), log)
    st.plotly_chart(figure, key="compare_curves", theme=None, config=curves.CONFIG)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(items: Sequence[ComparedItem]) -> None:
    """The sample pictures of each item, where images and masks are the same."""
    trials = {item.name: item.trial for item in items if item.trial}
    without = [item.name for item in items if not item.trial]
    if without and trials:
        elements.note(f"Not finished: {wording.listing(map(wording.quoted, without))}.")
    picture_grid.of_trials(trials)


# --- single images ----------------------------------------------------------------------------------------------------


def _images(name: str, arms: Sequence[str], before: bool) -> None:
    """The worst images of each arm, and those on which the arms disagree most.

    before: whether a command of the sweep ran when the page was drawn.
    """
    if any(child.running for child in current().children.of(name)) != before:
        st.rerun()  # at another pace
    study = current().reader.study(name)
    found = images.read_images(study, arms)
    if found is None:
        elements.empty_state("No scores of single images", "Finished trials that trained in one process have them.")
        return
    if found.disputed:
        elements.heading("Largest disagreement")
        elements.note(found.disputed.words)
        _disputed_table(found.disputed)
        drawn = images.disputed_grid(study, found)
        if drawn:
            st.image(drawn, alt="the images on which arms disagree most")
        else:
            _redraw(study.name, arms)
    places = st.columns(min(len(found.worst), 2))
    for number, worst in enumerate(found.worst):
        with places[number % len(places)]:
            _worst(worst)


def _worst(worst: images.WorstImages) -> None:
    elements.heading(f"Worst images of {wording.quoted(worst.arm)}")
    elements.note(
        "By PSNR in the hole: "
        + ", ".join(f"image {number}: {wording.fixed(psnr, 1)} dB" for number, psnr in worst.images)
    )
    if worst.png:
        st.image(worst.png, alt=f"worst images of {worst.arm}")
        elements.note("Rows from the top: damaged, filled, error (white is none), truth.")


def _disputed_table(found: images.DisputedImages) -> None:
    """PSNR in the hole of each disputed image, one column each, and its standard deviation over arms."""
    rows = {**found.rows, "standard deviation": found.spread}
    table = pd.DataFrame(
        list(rows.values()),
        columns=[f"image {number}" for number in found.images],
        index=pd.Index(list(rows), name="PSNR hole (dB)"),
    )
    st.dataframe(table.style.format("{:.1f}"))


def _redraw(name: str, arms: Sequence[str]) -> None:
    """A button that has the disputed images drawn, because trials store pictures of other images only."""
    off = buttons.disabled_reason(current())
    elements.note("No trial has stored pictures of these images. The finished trials can fill them again.")
    if st.button("Draw these images", icon=":material/brush:", disabled=bool(off), help=off or None, key="redraw"):
        given = current().settings
        data = ("--data", given.data) if given.data else ()
        chosen = (f"--redraw-arm={arm}" for arm in arms)
        command = ("report", name, "--store", given.store, "--redraw", *chosen, *data)
        buttons.confirm(name, buttons.Action("Draw", "Fills the disputed images with each of these arms.", command))
    buttons.show_outcome(name)
