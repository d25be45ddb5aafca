"""Shows the report of a sweep as `sweeps report` writes it, with its files for download."""

from __future__ import annotations

from functools import partial

import streamlit as st

from analysis.dashboard.context import current
from analysis.dashboard.widgets import elements
from analysis.report import formats

_FILES = {
    "HTML": ("html", "text/html", ":material/article:"),
    "CSV": ("csv", "text/csv", ":material/table:"),
    "LaTeX": ("tex", "application/x-tex", ":material/functions:"),
    "Markdown": ("md", "text/markdown", ":material/notes:"),
}
_HEIGHT = 1400


def show() -> None:
    name = elements.pick_sweep("Report of")
    if name is None:
        if not elements.query_value("sweep"):
            elements.note("A report is available at any time, even while its sweep is running.")
        return
    reader = current().reader
    elements.link("sweep", name, ":material/arrow_back:", sweep=name)
    report = reader.report(name)
    html = reader.page(name)
    with st.container(horizontal=True):
        for words, (suffix, mime, icon) in _FILES.items():
            write = {"html": lambda _: html, "csv": formats.csv, "tex": formats.tex, "md": formats.markdown}[suffix]
            file = f"{name}.{suffix}"
            st.download_button(
                words, partial(write, report), file, mime, icon=icon, on_click="ignore", key=f"download_{suffix}"
            )
    st.iframe(html, height=_HEIGHT)
