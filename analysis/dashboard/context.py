"""State that every page can use: the settings, the store reader, the child processes, and the pages to link to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.dashboard import settings
from analysis.dashboard.data.reader import Reader
from analysis.dashboard.data.summaries import Summaries
from analysis.dashboard.processes.commands import ChildProcesses
from analysis.dashboard.processes.predictor import PredictorProcess
from analysis.dashboard.settings import DashboardSettings
from sweeps.store.open import open_store

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage


@dataclass(frozen=True)
class ServerState:
    """State shared by all sessions of a server."""

    settings: DashboardSettings
    reader: Reader
    summaries: Summaries
    children: ChildProcesses
    predictor: PredictorProcess
    pages: Mapping[str, StreamlitPage] = field(default_factory=dict)


@st.cache_resource(show_spinner=False, max_entries=4)
def _shared(given: DashboardSettings) -> ServerState:
    reader = Reader(open_store(given.store))
    return ServerState(given, reader, Summaries(reader), ChildProcesses(), PredictorProcess())


_PAGES: dict[str, Any] = {}
"""Pages by name, the same for every session."""


def current() -> ServerState:
    """The state of the running server. Raises SweepError if the store's address is invalid."""
    shared = _shared(settings.from_environment())
    return replace(shared, pages=_PAGES)


def set_pages(pages: Mapping[str, Any]) -> None:
    _PAGES.update(pages)
