"""The script that Streamlit runs for every session: checks access, then shows the page that the address names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from analysis.dashboard import context, settings, theme
from analysis.dashboard.auth import access
from analysis.dashboard.screens import compare, report, sweep, sweeps, trial, try_it
from analysis.dashboard.widgets import elements

_HISTORY = Path(__file__).parent / "browser" / "history.js"
# which parameters of the address a link of the menu keeps
_KEPT = {
    "sweep": ["sweep"],
    "trial": ["trial", "sweep"],
    "compare": ["sweep"],
    "try": ["trial", "sweep"],
    "report": ["sweep"],
}


def main() -> None:
    st.set_page_config(elements.PRODUCT, _icon(), layout="wide")
    given = settings.from_environment()
    if not access.may_view(given):
        elements.title("inpaint-sweeps")
        access.show_login_form(given, "Enter the access token printed by `sweeps dashboard`.")
        return
    shown = {
        "sweeps": st.Page(elements.with_errors_shown(sweeps.show), title="Sweeps", url_path="sweeps", default=True),
        "sweep": st.Page(elements.with_errors_shown(sweep.show), title="Sweep", url_path="sweep"),
        "trial": st.Page(elements.with_errors_shown(trial.show), title="Trial", url_path="trial"),
        "compare": st.Page(elements.with_errors_shown(compare.show), title="Compare", url_path="compare"),
        "try": st.Page(elements.with_errors_shown(try_it.show), title="Try", url_path="try"),
        "report": st.Page(elements.with_errors_shown(report.show), title="Report", url_path="report"),
    }
    context.set_pages(shown)
    page = st.navigation(list(shown.values()), position="hidden")
    st.html(f"<style>{theme.style()}</style>")
    st.html(f"<script>{_HISTORY.read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)
    access.keep_offered()
    _menu(shown)
    page.run()
    if given.login:
        with st.container(horizontal=True, vertical_alignment="center"):
            elements.note(f"Logged in as {access.email() or 'a user without an e-mail address'}.")
            access.log_out()


def _menu(shown: Mapping[str, Any]) -> None:
    """Links to the pages that keep the sweep, or the trial, of the address."""
    kept = {key: value for key in ("sweep", "trial") if (value := elements.query_value(key))}
    with st.container(horizontal=True, key="menu"):
        for name, page in shown.items():
            if name == "sweeps":
                elements.link(name, page.title)
            elif name != "trial" or "trial" in kept:
                elements.link(name, page.title, **{key: kept[key] for key in _KEPT[name] if key in kept})


@functools.cache
def _icon() -> Image.Image:
    """The icon of the browser's tab; a Material icon would be fetched from a server on the internet."""
    icon = Image.new("RGBA", (32, 32))
    for x in (3, 18):
        for y in (3, 18):
            icon.paste("#0072b2", (x, y, x + 11, y + 11))
    return icon


if __name__ == "__main__":
    main()
