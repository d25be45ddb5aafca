"""A report as HTML and as Markdown: the values for the templates, and their rendering.

Text is marked up only in the templates; `render` pads the Markdown tables, which a template cannot do.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import wording
from analysis.claims import judge as claims
from analysis.report import figures, render, tables
from analysis.report.paper import paper_text
from analysis.report.render import escape
from analysis.report.sections import (
    by_epoch_and_mask,
    by_hole_size,
    conditions,
    details,
    images,
    pareto,
    robustness,
    searches,
)
from analysis.statistics import rank_agreement
from analysis.study import Study

if TYPE_CHECKING:
    from jinja2 import Environment

    from analysis.report.content import Report

TEMPLATES = Path(__file__).parent / "templates"
_LOOK = "arms differ inside the holes alone, and the paler an error map, the closer is the filling to the truth."
_BOXES = "Compare the boxes of {} with those of {}: the red box should cover the green one."
_BOXES_LEGEND = (
    "Green: the true box; red: the predicted box, drawn if the probability, which is in the corner of the image, is at "
    "least 0.5."
)
_PROBABILITIES = (
    "Compare the probabilities of {} with those of {}: high where there is a green box, low where there is none."
)
_PROBABILITIES_LEGEND = "In the corner: the probability of “inpainted”. Green: the true box."
_BADGES = {claims.HOLDS: "holds", claims.FAILS: "fails", claims.UNDECIDED: "undecided", claims.NOT_TESTED: "untested"}


def context(report: Report) -> dict[str, Any]:
    """The variables of both templates, as data and unescaped text."""
    study = report.study
    cells = details.cells(study)
    return {
        "study": study,
        "plan": study.plan,
        "question": study.plan.get("question") or study.name,
        "background": background(study),
        "answer": report.answer,
        "verdicts": report.verdicts,
        "papers": report.papers,
        "search": searches.settings(study),
        "searches": searches.facts(study),
        "epochs": by_epoch_and_mask.by_epoch(study),
        "masks": by_epoch_and_mask.by_mask(study),
        "crosses": report.crosses,
        "shares": by_hole_size.tables(study),
        "pareto": report.pareto,
        "thresholds": report.thresholds,
        "robustness": report.robustness,
        "robustness_tables": [curve.table() for curve in report.robustness],
        "robustness_words": robustness.sentences(study, report.robustness),
        "cost_label": pareto.label,
        "agreement": rank_agreement.compare(study),
        "curve_columns": [wording.label(column) for column in figures.curve_columns(study)],
        "grid": report.grid,
        "grid_words": grid_words(report),
        "images": report.images,
        "image_words": _image_words(report),
        "worst_words": _worst_words,
        "disputed": report.disputed,
        "conditions": conditions.conditions(study),
        "arms": details.arm_facts(study),
        "cost": details.cost(study),
        "provenance": details.provenance(study),
        "warnings": details.warnings(study),
        "cells": cells,
        "anchors": {name: f"arm-{number}" for number, name in enumerate(study.names, 1)},
        "missing": details.missing(cells),
        "states": study.states(),
        "command": study.plan.get("command") or "",
    }


def background(study: Study) -> list[str]:
    """The paragraphs below the question in the first comment block of the sweep file."""
    lines = str(study.plan.get("header") or "").splitlines()
    text = "\n".join(line.removeprefix("#").strip() for line in lines).strip()
    question = str(study.plan.get("question") or "").strip()
    return [part.strip() for part in text.removeprefix(question).split("\n\n") if part.strip()]


def grid_words(report: Report) -> list[str]:
    """What to look at in the pictures; then what they show, and their seeds."""
    if report.grid is None:
        return []
    if report.grid.boxes:
        look, legend = (_BOXES, _BOXES_LEGEND) if report.grid.located else (_PROBABILITIES, _PROBABILITIES_LEGEND)
        return [
            _pair(report, look),
            f"{_same(report, 'The same images')}. {legend}"
            + (" Below: the heat map of an arm that predicts masks." if report.grid.heat else ""),
            f"{_seeds(report)}.",
        ]
    return [
        _pair(report, "Compare the fillings of {} with those of {}: " + _LOOK),
        f"{_same(report, 'The same images under the same masks')}; known pixels are unchanged.",
        f"{_seeds(report)}.",
        "Below each image: its mask or its error map (white: zero; darkest red: a quarter of the range or more).",
        "Enlarged without smoothing.",
    ]


def _pair(report: Report, sentence: str) -> str:
    """A sentence on the best arm and its baseline, or on the first arms with pictures if one of them has none."""
    study = report.study
    comparable = next(group for group in study.groups if study.baseline in group)
    blocks = report.grid.blocks if report.grid else []
    alike = next((block for block in blocks if study.baseline in block), [])
    shown = [name for name in alike if name in comparable]
    best = tables.best_arm(tables.best_arms(study, study.metrics[0], shown))
    names = [name for name in dict.fromkeys([best, study.baseline, *shown]) if name in shown]
    if len(names) < 2:
        return "Compare the pictures with the truth."
    return sentence.format(*map(wording.quoted, names[:2]))


def _same(report: Report, words: str) -> str:
    """For which arms the pictures are the same in what the words name."""
    if report.grid is None or len(report.grid.blocks) < 2:
        return f"{words} for every arm"
    if report.grid.boxes:
        return f"{words} for the arms that share a column “truth”"
    return f"{words} for the arms between a column “damaged” and the next “truth”"


def _seeds(report: Report) -> str:
    """The seeds of the pictures, in words."""
    seeds = (
        {name: seed for name, seed in report.grid.seeds.items() if report.study.arm(name).trains} if report.grid else {}
    )
    first = report.study.seeds[0]
    others = [f"{wording.quoted(name)} seed {seed}" for name, seed in seeds.items() if seed != first]
    return f"Seed {first}" + (f"; {wording.listing(others)}, because seed {first} has none" if others else "")


def _image_words(report: Report) -> list[str]:
    """The means over images, and the seeds of the values of single images."""
    shown = report.images
    if shown is None:
        return []
    first = report.study.seeds[0]
    others = [f"{wording.quoted(arm)} seed {seed}" for arm, seed in shown.seeds.items() if seed != first]
    left = [name for name in report.study.names if name not in shown.seeds]
    return [
        *shown.means,
        f"Values of single images are from seed {first} after the last epoch"
        + (f" ({wording.listing(others)})" if others else "")
        + ". Images are numbered from 0 in the order of the test split.",
        *([f"Arms without such values: {wording.listing(map(wording.quoted, left))}."] if left else []),
    ]


def _worst_words(worst: images.WorstImages) -> str:
    """Heading of an arm's worst images."""
    return f"Worst images of {wording.quoted(worst.arm)} by {wording.label(images.METRIC)}"


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a data URI. kind: a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def html(report: Report) -> str:
    """The report as one HTML page. The template escapes every value; figures are embedded."""
    drawn = {
        "curves": report.curves,
        "front": report.front,
        "interaction": report.interaction,
        "roc": report.roc,
        "falling": report.falling,
    }
    script = (TEMPLATES / "copy_csv.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {**context(report), **drawn, "script": script, "script_digest": digest}
    return _environment(autoescape=True).get_template("report.html").render(values)


def markdown(report: Report) -> str:
    """The report as Markdown that also reads well as plain text.

    Draws nothing over epochs or costs: `formats.files` writes the figures that the text links to.
    """
    environment = _environment(autoescape=False)
    environment.filters["md"] = escape
    return environment.get_template("report.md").render(context(report))


def _environment(autoescape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        badges=_BADGES,
        render=render,
        paper_text=paper_text,
        wording=wording,
        data_uri=data_uri,
        duration=wording.duration,
    )
    return environment
