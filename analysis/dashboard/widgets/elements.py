"""Elements that several pages use: headings, states, empty states, errors, links, choices kept in the address."""

from __future__ import annotations

import functools
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import streamlit as st

from analysis import wording
from analysis.dashboard import theme
from analysis.dashboard.context import current
from sweeps.errors import StoreAwayError, SweepError

PRODUCT = "inpaint-sweeps"
LIVE_S, STILL_S = 3.0, 15.0
"""Seconds between two refreshes of a running sweep, and of one that is not running."""


def escape(text: object) -> str:
    """Escape text for Markdown: no links, no emphasis, no HTML, no Streamlit colours or icons."""
    line = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()#+-.!|~$<>:&" else sign for sign in line)


def title(text: str, below: str = "") -> None:
    """The heading of a page, which the browser's tab shows too."""
    st.set_page_config(f"{text} · {PRODUCT}" if text != PRODUCT else text)
    st.title(escape(text), anchor=False)
    if below:
        st.markdown(f":gray[{escape(below)}]")


def heading(text: str) -> None:
    st.subheader(escape(text), anchor=False)


def table_height(rows: int) -> int | Literal["content"]:
    """Height of a table: its content, or a fixed height with a scroll bar for many rows."""
    return "content" if rows <= 18 else 690


def note(text: str) -> None:
    """Show text in small grey type."""
    st.caption(escape(text))


def notes(sentences: Sequence[str]) -> None:
    """Show sentences in small grey type, each on its own line of one paragraph."""
    if sentences:
        st.caption("  \n".join(map(escape, sentences)))


def badge(state: str, words: str = "") -> str:
    """A state as a coloured badge in Markdown."""
    _, colour, sign = theme.STATES[state]
    return f":{colour}-badge[{sign} {escape(words or state)}]"


def empty_state(what: str, do: str, command: str = "") -> None:
    """Show what is missing and what to do about it."""
    with st.container(border=True):
        st.markdown(f"**{escape(what)}**")
        st.markdown(escape(do))
        if command:
            st.code(command, language="sh", wrap_lines=True)


def show_error(error: SweepError) -> None:
    """Show the four parts of an error."""
    away = isinstance(error, StoreAwayError)
    with st.container(border=True):
        st.markdown(f"{':orange' if away else ':red'}[**{escape(error.given)}**]")
        st.markdown(f"**Why** {escape(error.why)}  \n**Allowed** {escape(error.allowed)}  \n**Do** {escape(error.fix)}")
        if away:
            note("The page tries again automatically.")


def with_errors_shown(show: Callable[..., None]) -> Callable[..., None]:
    """Wrap a page, or a part of one, so that it shows its errors. Unexpected ones also print a traceback."""

    @functools.wraps(show)
    def run(*given: Any) -> None:
        try:
            show(*given)
        except SweepError as error:
            show_error(error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            show_error(
                SweepError(
                    "this page",
                    f"it could not be shown ({type(error).__name__}: {error})",
                    "a store written by this version",
                    "reload the page; the traceback is in the terminal of `sweeps dashboard`",
                )
            )

    return run


def auto_refresh(show: Callable[[], None], seconds: float) -> None:
    """Show a part of the page that is refreshed every few seconds, without the rest of the page."""
    st.fragment(with_errors_shown(show), run_every=seconds)()


# --- the address ------------------------------------------------------------------------------------------------------


def query_value(key: str) -> str:
    """A parameter of the address; '' if it is missing."""
    return str(st.query_params.get(key, ""))


def query_values(key: str) -> list[str]:
    return [str(value) for value in st.query_params.get_all(key)]


def pick_sweep(label: str = "Sweep") -> str | None:
    """The sweep that the address names. Without one, show a box to choose a sweep and return None."""
    reader = current().reader
    names = reader.names()
    given = query_value("sweep")
    if given:
        return reader.check(given)
    if not names:
        no_sweeps()
        return None
    chosen = st.selectbox(label, names, index=None, placeholder="Choose a sweep", key="sweep_choice")
    if chosen:
        st.query_params["sweep"] = chosen
        st.rerun()
    return None


def no_sweeps() -> None:
    empty_state(
        "No sweep yet",
        f"The store {current().settings.store} is empty or does not exist yet. This command creates it:",
        f"sweeps run sweeps/inpainting/partial_conv.yaml --store {current().settings.store}",
    )


def segments(label: str, options: Sequence[str], key: str) -> str:
    """A row of choices; the chosen one is kept in the address."""
    chosen = st.segmented_control(
        label, options, default=options[0], key=key, label_visibility="collapsed", bind="query-params", required=True
    )
    return str(chosen or options[0])


def select_box(label: str, options: Sequence[str], key: str, words: Callable[[str], str] = str) -> str:
    """A box of choices; the chosen one is kept in the address."""
    chosen = st.selectbox(label, options, key=key, format_func=words, bind="query-params")
    return str(chosen if chosen is not None else options[0])


def link(page: str, label: str, icon: str | None = None, **address: str) -> None:
    """A link to another page of the dashboard, in the same session."""
    st.page_link(current().pages[page], label=escape(label), icon=icon, query_params=address)


def open_page(page: str, address: Mapping[str, str | list[str]]) -> None:
    st.switch_page(current().pages[page], query_params=dict(address))


# --- words ------------------------------------------------------------------------------------------------------------


def time_ago(moment: float | None) -> str:
    """'3 min ago'; a date after two days."""
    if not moment:
        return ""
    seconds = max(0.0, time.time() - moment)
    if seconds < 5:
        return "now"
    if seconds < 2 * 86400:
        return f"{wording.duration(seconds)} ago"
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def format_time(seconds: float | None) -> str:
    """Date and time in UTC, in the format of logs."""
    return "–" if not seconds else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def format_value(number: float | None, column: str = "") -> str:
    """A number with five significant digits and its unit."""
    return "–" if number is None else wording.with_unit(f"{number:.5g}", column)


def is_dark() -> bool:
    """Whether the browser uses the dark theme."""
    return st.context.theme.type == "dark"
