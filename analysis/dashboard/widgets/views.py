"""The views of a sweep: cells, table, curves, pictures, search, claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from analysis import wording
from analysis.claims import judge as judging
from analysis.dashboard.context import current
from analysis.dashboard.data.reader import history
from analysis.dashboard.widgets import cells as grid
from analysis.dashboard.widgets import curves as drawing
from analysis.dashboard.widgets import elements, optimisation, picture_grid
from analysis.report import render
from analysis.report.content import Report
from analysis.report.paper.paper_table import PUBLISHED, RESULTS, PaperTable
from analysis.report.sections import searches
from analysis.report.tables import BEST
from analysis.study import Study
from sweeps.results import columns as record_columns
from sweeps.results import failures, notes
from sweeps.results.progress import TrialState

_MOST_FAILURES = 12
_SMOOTH = ["1", "3", "5", "10", "20"]
_FEW_ARMS = 8
_PLOTS = 4
"""Number of plots that are shown at first."""
_ASIDE = "remarks"
"""Heading of what an arm is, or which of its trials are missing."""
_MOST_RUNNING = 12
"""Maximum number of running trials whose curves are drawn."""


# --- cells ------------------------------------------------------------------------------------------------------------


def cells(report: Report, states: Mapping[str, TrialState]) -> None:
    """The grid of arms by seeds; a click on a cell opens its trial."""
    study = report.study
    left, right, search = st.columns([2, 2, 3])
    with left:
        metric = elements.select_box("Metric", study.metrics, "metric", wording.label)
    with right:
        colour = elements.select_box("Colour", ["state", "metric"], "colour")
    arms = study.names
    if len(arms) > grid.MOST_ROWS // 10:
        wanted = search.text_input("Filter arms", key="arms_with", bind="query-params")
        arms = [arm for arm in arms if wanted.lower() in arm.lower()]
    found = [cell for cell in grid.cells(study, states, metric) if cell.arm in set(arms[: grid.MOST_ROWS])]
    if len(arms) > grid.MOST_ROWS:
        elements.note(f"The first {grid.MOST_ROWS} of {len(arms):,} arms; filter by part of a name to see others.")
        arms = arms[: grid.MOST_ROWS]
    _grid(study, found, arms, metric, colour == "metric")
    _failures(study, found, states)


def _grid(study: Study, found: list[grid.GridCell], arms: list[str], metric: str, by_metric: bool) -> None:
    seeds = study.seeds
    if not arms:
        elements.empty_state("No arm matches", "Filter by part of an arm's name.")
        return
    stars = notes.starred(current().reader.notes(study.name))
    texts = grid.table(found, arms, seeds, {search.arm for search in study.searches if search.failure}, stars)
    colours = grid.colours(found, arms, seeds, metric, by_metric)
    event: Any = st.dataframe(
        texts.style.apply(lambda _: colours, axis=None),
        on_select="rerun",
        selection_mode="single-cell",
        key="cells",
        height=elements.table_height(len(arms)),
        column_config={"arm": st.column_config.TextColumn(width="medium", pinned=True)},
    )
    elements.note(
        f"{render.metric_heading(metric)}, {study.at_epoch()}; for running trials the epoch and the validation value. "
        "✓ done, ⟲ trained before this sweep was planned, ▶ running, ✕ failed, ❚❚ interrupted, · queued, ★ starred. "
        "Click a cell to open its trial."
    )
    if event.selection.cells:
        row, column = event.selection.cells[0]
        trial = {(cell.arm, f"seed {cell.seed}"): cell.trial for cell in found}.get((arms[row], column))
        if trial:
            elements.open_page("trial", {"trial": trial, "sweep": study.name, "arm": arms[row]})


def _failures(study: Study, found: list[grid.GridCell], states: Mapping[str, TrialState]) -> None:
    """Each error once, with what to do and links to its trials."""
    failed = [cell for cell in found if cell.state == "failed"]
    if not failed:
        return
    elements.heading(wording.count(len(failed), "failed trial"))
    cell_of = {cell.trial: cell for cell in failed}
    for group in failures.grouped((trial, states[trial].error or {}) for trial in cell_of):
        first = cell_of[group.trials[0]]
        arm = study.arm(first.arm)
        fix = failures.advice(group.error, arm.config, arm.set)
        with st.container(border=True):
            differ = "" if group.alike else " (the others differ in numbers)"
            count = wording.count(len(group.trials), "trial")
            st.markdown(f"**{count}**: {elements.escape(failures.summary(group.error) + differ)}")
            if fix:
                st.markdown(elements.escape(fix))
            with st.container(horizontal=True, key=f"trials-{group.trials[0]}"):
                for cell in map(cell_of.__getitem__, group.trials[:_MOST_FAILURES]):
                    label = f"{cell.arm}, seed {cell.seed}"
                    elements.link("trial", label, None, trial=cell.trial, sweep=study.name, arm=cell.arm)
            if len(group.trials) > _MOST_FAILURES:
                elements.note(f"{len(group.trials) - _MOST_FAILURES} more are red in the grid.")


# --- table ------------------------------------------------------------------------------------------------------------


def table(report: Report) -> None:
    """The report's main tables of the trials that are done: effects of factors, results, differences."""
    for number, paper in enumerate(report.papers):
        if number or paper.title != RESULTS:
            elements.heading(paper.heading)
        for sentence in paper.lead:
            elements.note(sentence)
        _numbers(paper)
        elements.notes(paper.sentences)


def _numbers(paper: PaperTable) -> None:
    """A table whose numbers are sorted as such, whatever text shows them; the names stay in view on a phone."""
    heads = _heads(paper)
    shown = pd.DataFrame({paper.corner: [row.name for row in paper.rows]})
    for at, head in enumerate(heads):
        shown[head] = pd.Series([row.figures[at].value for row in paper.rows], dtype=float)
    if any(row.aside for row in paper.rows):
        shown[_ASIDE] = [row.aside for row in paper.rows]
    style = shown.style
    marks = pd.DataFrame("", index=shown.index, columns=shown.columns)
    for number, row in enumerate(paper.rows):
        for head, figure in zip(heads, row.figures, strict=True):
            style = style.format(_constant(figure.text), subset=([number], [head]))
            marks.loc[number, head] = "font-weight: 700" if figure.mark == BEST else ""
    column = st.column_config
    of_others = {head: column.Column(PUBLISHED) for head in heads if head.startswith(f"{PUBLISHED}, ")}
    st.dataframe(
        style.apply(lambda _: marks, axis=None),
        hide_index=True,
        height=elements.table_height(len(shown)),
        column_config={paper.corner: column.TextColumn(pinned=True), **of_others},
        placeholder=render.NOTHING,
    )


def _heads(paper: PaperTable) -> list[str]:
    """The headings, each once: that of published values has its metric."""
    heads: list[str] = []
    for head in paper.heads:
        heads.append(f"{PUBLISHED}, {heads[-1]}" if head == PUBLISHED else head)
    return heads


def _constant(text: str) -> Callable[[object], str]:
    return lambda _: text


# --- curves -----------------------------------------------------------------------------------------------------------


def curves(report: Report, states: Mapping[str, TrialState]) -> None:
    """Metrics over epochs, a plot for each; trials that are running are drawn up to their newest record."""
    study = report.study
    running = _running(study, states)
    columns = drawing.columns(study)
    columns += sorted({name for one in running.values() for name in one} - {*columns, record_columns.EPOCH})
    if not columns:
        elements.empty_state("No curve yet", "Curves begin with the first checkpoint or heartbeat of a trial.")
        return
    chosen = st.multiselect(
        "Metrics",
        columns,
        default=columns[:_PLOTS],
        format_func=wording.label,
        key="plots",
        bind="query-params",
    )
    second, third, fourth = st.columns([2, 2, 2], vertical_alignment="bottom")
    with second:
        smooth = elements.select_box("Smoothing, epochs", _SMOOTH, "smooth")
    seeds = third.toggle("Single seeds", key="seeds", bind="query-params")
    log = fourth.toggle("Log axis", key="log", bind="query-params")
    arms = _some_arms(study)
    places: list[Any] = []
    left_out = ""
    for column in chosen:
        places = places or list(st.columns(2 if len(chosen) > 1 else 1))  # a row, so that a phone keeps the order
        figure, words = drawing.study_figure(study, column, arms, seeds, int(smooth), log, elements.is_dark())
        drawing.add_running(figure, study, running, column, arms, int(smooth))
        left_out = left_out or words
        with places.pop(0):
            st.plotly_chart(figure, key=f"curves-{column}", theme=None, config=drawing.CONFIG)
    words = "Thin: single seeds; thick: their mean." if seeds else "Means over seeds with 95 % intervals."
    live = "Thin with points: trials that are not finished." if running else ""
    elements.note(" ".join(f"{words} Dotted lines: {study.untrained}. {live} {left_out}".split()))


def _running(study: Study, states: Mapping[str, TrialState]) -> dict[tuple[str, int], Mapping[str, list[Any]]]:
    """The columns of trials that are running, or stopped with a checkpoint, by arm and seed."""
    reader = current().reader
    open_ = [cell for cell in study.cells if states.get(cell.trial, cell.progress).at(cell.epochs) == "running"]
    found = {
        (cell.arm, cell.seed): history(reader, cell.trial, {}, states.get(cell.trial)) for cell in open_[:_MOST_RUNNING]
    }
    return {key: columns for key, columns in found.items() if columns.get(record_columns.EPOCH)}


def _some_arms(study: Study) -> list[str]:
    """All arms of a sweep that has few, otherwise those that the user chooses."""
    if len(study.names) <= _FEW_ARMS:
        return study.names
    return st.multiselect("Arms", study.names, default=study.names[:_FEW_ARMS], key="arms", bind="query-params")


def pictures(report: Report) -> None:
    """The evaluation images of every arm."""
    picture_grid.of_sweep(report.study, _some_arms(report.study))


# --- search -----------------------------------------------------------------------------------------------------------


def search(report: Report) -> None:
    """The searches of a sweep, with Optuna's figures, the best configurations and all suggestions."""
    study = report.study
    for sentence in searches.settings(study):
        elements.note(sentence)
    for failure in study.search_failures:
        st.error(elements.escape(failure))
    found = current().reader.searches(study.name)
    if not found:
        elements.empty_state("The search has not begun", "Suggestions appear here as soon as they are made.")
        return
    arm = elements.select_box("Search of", list(found), "search_of") if len(found) > 1 else next(iter(found))
    one = found[arm]
    left, right = st.columns([3, 2])
    with left:
        kind = elements.segments("Figure", optimisation.figure_kinds(one), "figure")
    with right:
        metrics = list(one.spec.metrics)
        metric = (
            elements.select_box("Metric", metrics, "search_metric", wording.label) if len(metrics) > 1 else metrics[0]
        )
    missing = optimisation.missing_suggestions(one, kind)
    if missing:
        elements.empty_state(f"Too few suggestions for {kind}", f"{missing} more must be complete.")
    else:
        figure = optimisation.figure(one, kind, metric, elements.is_dark())
        event: Any = st.plotly_chart(
            figure,
            key=f"optuna-{kind}",
            theme=None,
            config=drawing.CONFIG,
            on_select="rerun",
            selection_mode="points",
        )
        for point in event.selection.points[:1]:
            _open_suggestion(study.name, arm, optimisation.suggestion_at(figure, point))
    for fact in searches.facts(study):
        if fact.arm == arm:
            _facts(fact)
    table = optimisation.suggestions_table(one)
    chosen: Any = st.dataframe(
        table.style.format(lambda value: f"{value:.4g}", subset=table.select_dtypes("float").columns, na_rep="–"),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key="suggestions",
        height=elements.table_height(len(table)),
    )
    elements.note("Click a point of the history, the slices or the front, or a row of this table, to open its trial.")
    for row, _ in chosen.selection.cells[:1]:
        _open_suggestion(study.name, arm, int(table["suggestion"][row]))


def _open_suggestion(sweep: str, arm: str, number: int | None) -> None:
    """Open the page of a suggestion's trial, if it has one."""
    trial = "" if number is None else optimisation.trial_of(current().reader.store, sweep, arm, number)
    if trial:
        elements.open_page("trial", {"trial": trial, "sweep": sweep})


def _facts(fact: searches.SearchFacts) -> None:
    ended = [f"{fact.complete} complete", f"{fact.pruned} pruned", f"{fact.failed} failed", f"{fact.running} running"]
    st.markdown(f"**{elements.escape(fact.suggestions)} suggestions**: {elements.escape(', '.join(ended))}")
    for number, found in enumerate(fact.found, 1):
        chosen = f", reported as {wording.quoted(found.arm)}" if found.arm else ""
        st.markdown(
            f"{number}. {elements.escape(found.changes)}: **{elements.escape(found.value)}**{elements.escape(chosen)}"
        )
    if fact.importance:
        elements.note(f"Importance: {fact.importance}")


# --- claims -----------------------------------------------------------------------------------------------------------


def claims(report: Report) -> None:
    """The claims of a study with their verdicts so far."""
    colours = {judging.HOLDS: "green", judging.FAILS: "red", judging.UNDECIDED: "orange", judging.NOT_TESTED: "gray"}
    for verdict in report.verdicts:
        with st.container(border=True):
            st.markdown(f":{colours[verdict.verdict]}-badge[{verdict.words}] **{elements.escape(verdict.text)}**")
            st.markdown(elements.escape(verdict.sentence))
            facts = [
                f"ours {verdict.ours}" if verdict.ours else "",
                f"published {verdict.published}" if verdict.published else "",
                f"source: {verdict.source}" if verdict.source else "",
            ]
            if any(facts):
                elements.note("; ".join(filter(None, facts)))
    elements.note("Verdicts can change while trials finish. Intervals are simultaneous for all claims' comparisons.")
