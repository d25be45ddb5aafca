"""A report as a page: what its template names, and the same content as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import wording
from analysis.claims import judge as claims
from analysis.report import figures, render
from analysis.report.render import escape
from analysis.report.sections import by_epoch_and_mask, by_hole_size, details, images, pareto, searches
from analysis.statistics import factors, rank_agreement
from analysis.study import Study

if TYPE_CHECKING:
    from analysis.report.content import Report

TEMPLATES = Path(__file__).parent / "templates"
_MOST_MISSING = 40
"""Missing cells listed in Markdown; HTML lists all of them."""
_BADGES = {claims.HOLDS: "holds", claims.FAILS: "fails", claims.UNDECIDED: "undecided"}


def context(report: Report) -> dict[str, Any]:
    """Everything that a template names, as plain data and text; nothing in it is escaped yet."""
    study = report.study
    cells = details.cells(study)
    return {
        "study": study,
        "plan": study.plan,
        "question": study.plan.get("question") or study.name,
        "background": background(study),
        "answer": report.answer,
        "verdicts": report.verdicts,
        "table": report.table,
        "theirs": any(column.theirs for column in report.table.columns),
        "search": searches.settings(study),
        "searches": searches.facts(study),
        "epochs": by_epoch_and_mask.by_epoch(study),
        "masks": by_epoch_and_mask.by_mask(study),
        "crosses": report.crosses,
        "interaction": report.interaction,
        "shares": by_hole_size.tables(study),
        "pareto": report.pareto,
        "front": report.front,
        "cost_label": pareto.label,
        "agreement": rank_agreement.compare(study),
        "curves": report.curves,
        "curve_columns": [wording.label(column) for column in figures.curve_columns(study)],
        "grid": report.grid,
        "grid_note": grid_note(report),
        "images": report.images,
        "image_words": _image_words(report),
        "worst_words": _worst_words,
        "disputed": report.disputed,
        "conditions": details.conditions(study),
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
    """The rest of the file's first comment block, below the question, as paragraphs."""
    lines = str(study.plan.get("header") or "").splitlines()
    text = "\n".join(line.removeprefix("#").strip() for line in lines).strip()
    question = str(study.plan.get("question") or "").strip()
    return [part.strip() for part in text.removeprefix(question).split("\n\n") if part.strip()]


def grid_note(report: Report) -> str:
    """Which seeds the pictures come from."""
    if report.grid is None:
        return ""
    seeds = {name: seed for name, seed in report.grid.seeds.items() if report.study.arm(name).trains}
    first = report.study.seeds[0]
    others = [f"{wording.quoted(name)} seed {seed}" for name, seed in seeds.items() if seed != first]
    return f"Seed {first}" + (f"; {wording.listing(others)}, as seed {first} has none" if others else "")


def _image_words(report: Report) -> list[str]:
    """The means over images, and what the values of single ones rest on."""
    found = report.images
    if found is None:
        return []
    first = report.study.seeds[0]
    others = [f"{wording.quoted(arm)} seed {seed}" for arm, seed in found.seeds.items() if seed != first]
    left = [name for name in report.study.names if name not in found.seeds]
    return [
        *found.means,
        f"Values of single images are those after the last epoch of seed {first}"
        + (f" ({wording.listing(others)})" if others else "")
        + ". Images are numbered from 0 in the order of the test split.",
        *([f"Without values here: {wording.listing(map(wording.quoted, left))}."] if left else []),
    ]


def _worst_words(worst: images.Worst) -> str:
    """Which images they are: the heading of an arm's worst ones."""
    return f"The worst images of {wording.quoted(worst.arm)} by {wording.label(images.METRIC)}"


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as an address that a page carries within itself. kind: a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def html(report: Report) -> str:
    """The page. Every value is escaped by the template; figures are carried within it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        badges=_BADGES, render=render, wording=wording, data_uri=data_uri, duration=wording.duration
    )
    return environment.get_template("report.html").render(context(report))


def markdown(report: Report) -> str:
    """The report as Markdown that also reads well as plain text; its figures lie beside it, see `report.files`."""
    page = context(report)
    study: Study = page["study"]
    first, *others = page["answer"]
    parts = [
        f"# {escape(page['question'])}",
        f"**{escape(first)}**",
        *map(escape, others),
        *_section("Claims", [_verdict(verdict) for verdict in page["verdicts"]]),
        *_section("Figures", [render.markdown(page["table"])]),
        *_section("By epoch", [render.grid_markdown(render.columns(table)) for table in page["epochs"]]),
        *_section("By what was tested on", [render.grid_markdown(render.columns(table)) for table in page["masks"]]),
        *_section("By two factors", [block for table in report.crosses for block in _cross(table)]),
        *_section("Search", [" ".join(map(escape, page["search"])), _searches(page["searches"])]),
        *_section("By share of hole", [*map(render.shares_markdown, page["shares"])]),
        *_section("Quality against cost", _pareto(report)),
        *_section("Curves", [f"![Curves over epochs]({study.name}-curves.svg)"] if page["curves"] else []),
        *_section("Pictures", _pictures(report)),
        *_section("Single images", _images(report)),
        *_section("Agreement of the metrics", _agreement(page["agreement"])),
        *_section("Conditions", [_list(page["conditions"]), _arms(page["arms"])]),
        *_section("Cost", [_list(page["cost"])]),
        *_section("Provenance", [*(f"**{escape(text)}**" for text in page["warnings"]), _list(page["provenance"])]),
        *_section("Run it again", [f"```sh\n{page['command'].replace('```', '')}\n```"] if page["command"] else []),
        *_section("Missing cells", _missing(page["missing"])),
        *_section("Background", [escape(text) for text in page["background"]]),
    ]
    return "\n\n".join(parts) + "\n"


def _cross(table: factors.CrossTable) -> list[str]:
    """One metric by two factors, and its effects."""
    heading = f"**{escape(render.metric_heading(table.metric))}**"
    return [heading, render.grid_markdown(table.grid()), " ".join(map(escape, table.sentences()))]


def _section(title: str, blocks: Iterable[str]) -> list[str]:
    found = [block for block in blocks if block]
    return [f"## {title}", *found] if found else []


def _verdict(verdict: claims.Verdict) -> str:
    source = f" Source: {escape(verdict.source)}." if verdict.source else ""
    return f"- **{verdict.verdict}**: {escape(verdict.text)}  \n  {escape(verdict.sentence)}{source}"


def _list(pairs: details.Pairs) -> str:
    return "\n".join(f"- {name}: {escape(text)}" for name, text in pairs)


def _searches(found: list[searches.SearchFacts]) -> str:
    """Each search with what it found, as a list."""
    lines = []
    for search in found:
        ended = [f"{search.complete} complete", f"{search.pruned} pruned", f"{search.failed} failed"]
        ended += [f"{search.running} running"] if search.running else []
        saved = f"; early stopping saved {search.saved}" if search.saved else ""
        lines.append(f"- {escape(search.arm)}: {search.tries} tries asked, {', '.join(ended)}{saved}")
        lines += [f"  - importance: {escape(search.importance)}"] if search.importance else []
        for number, one in enumerate(search.found, 1):
            chosen = f", chosen as {escape(wording.quoted(one.arm))}" if one.arm else ""
            lines.append(f"  {number}. {escape(one.changes)}: {one.value}{chosen}")
    return "\n".join(lines)


def _arms(arms: list[details.ArmFacts]) -> str:
    """What each arm changes and what it costs, as a list: sentences do not fit a table that is read as text."""
    lines = []
    for arm in arms:
        facts = [
            "" if arm.parameters is None else f"{arm.parameters:,} parameters",
            "" if arm.time_s is None else f"{wording.duration(arm.time_s)} a trial",
            "" if arm.images_per_s is None else f"{arm.images_per_s:,.0f} images/s",
        ]
        lines.append(
            f"- {escape(arm.arm)}: changes {escape(arm.changes)}" + "".join(f"; {fact}" for fact in facts if fact)
        )
    return "\n".join(lines)


def _pictures(report: Report) -> list[str]:
    if report.grid is None:
        return []
    return [f"![The same images for every arm]({report.study.name}-pictures.png)", escape(f"{grid_note(report)}.")]


def _images(report: Report) -> list[str]:
    """Single test images: means, the worst ones, those on which arms disagree."""
    found, name = report.images, report.study.name
    if found is None:
        return []
    blocks = [" ".join(map(escape, _image_words(report)))]
    for number, worst in enumerate(found.worst, 1):
        listed = ", ".join(f"{image} ({wording.fixed(psnr, 1)} dB)" for image, psnr in worst.images)
        blocks.append(f"**{escape(_worst_words(worst))}**: {listed}.")
        blocks += [f"![Damaged, filled, errors, truth]({name}-worst-{number}.png)"] if worst.png else []
    if found.disputed:
        blocks += ["**Images on which arms disagree most.** " + escape(found.disputed.words)]
        blocks.append(render.disputed_markdown(found.disputed))
        blocks += [f"![The disputed images for every arm]({name}-disputed.png)"] if report.disputed else []
    return blocks


def _pareto(report: Report) -> list[str]:
    """Quality against cost as a table, with its picture."""
    if report.pareto is None:
        return []
    picture = f"![Quality against cost]({report.study.name}-pareto.svg)"
    return [render.pareto_markdown(report.pareto), picture, " ".join(map(escape, report.pareto.notes))]


def _agreement(found: rank_agreement.Agreement | None) -> list[str]:
    if found is None:
        return []
    return [render.agreement_markdown(found), " ".join(map(escape, found.sentences))]


def _missing(cells: list[details.CellFacts]) -> list[str]:
    lines = [
        f"- {escape(cell.arm)}, seed {cell.seed}: {cell.state}"
        + (f" after epoch {cell.epoch}" if cell.epoch is not None else "")
        + (f": {escape(cell.error)}" if cell.error else "")
        for cell in cells[:_MOST_MISSING]
    ]
    rest = len(cells) - len(lines)
    return ["\n".join([*lines, *([f"- and {rest} more"] if rest > 0 else [])])] if lines else []
