"""Notes, tags, stars and saved views: shown to everybody, written by sessions with the token or a login."""

from __future__ import annotations

import getpass
import html
from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from analysis.dashboard.auth import access
from analysis.dashboard.context import current
from analysis.dashboard.widgets import buttons, elements
from sweeps.results import notes as stored_notes
from sweeps.results.notes import NOTE, STAR, VIEW, Note

_AUTHOR = "author"
_NEVER_KEPT = ("token", "sweep")
"""Parameters of an address that a saved view leaves out."""
_MOST = 50
"""Number of notes, and of views, that are shown."""


def section(sweep: str, page: str, trial: str = "") -> None:
    """Notes on the sweep, or on one of its trials, and the sweep's saved views, with forms to add some."""
    found = current().reader.notes(sweep)
    mine = [note for note in found if note.kind == NOTE and (note.trial or "") == trial]
    views = [note for note in found if note.kind == VIEW]
    tags = sorted({tag for note in mine for tag in note.tags})
    label = f"Notes ({len(mine)})" + (f": {', '.join(tags)}" if tags else "")
    with st.expander(elements.escape(label), icon=":material/edit_note:"):
        _listed(sweep, mine)
        _note_form(sweep, trial)
    with st.expander(f"Saved views ({len(views)})", icon=":material/bookmark:"):
        _views(sweep, views)
        _view_form(sweep, page)


def star_button(sweep: str, trial: str) -> None:
    """A button that gives the trial a star, or takes all of them away."""
    stars = [note for note in current().reader.notes(sweep) if note.kind == STAR and note.trial == trial]
    off = _why_not()
    label, icon = ("Remove star", ":material/star:") if stars else ("Star", ":material/star_outline:")
    by = f"Starred by {', '.join(dict.fromkeys(note.author for note in stars))}." if stars else None
    if st.button(label, icon=icon, disabled=bool(off), help=off or by, key="star"):
        if stars:
            _remove(sweep, stars)
        else:
            _add(sweep, Note(STAR, _author(), trial=trial))


def _listed(sweep: str, notes: Sequence[Note]) -> None:
    for note in reversed(notes[-_MOST:]):
        with st.container(border=True):
            badges = " ".join(f":blue-badge[{elements.escape(tag)}]" for tag in note.tags)
            when = elements.format_time(note.written_at)
            st.markdown(f"**{elements.escape(note.author)}**, {elements.escape(when)} UTC {badges}")
            if note.text:
                st.text(note.text)
            _delete_button(sweep, note)


def _delete_button(sweep: str, note: Note) -> None:
    if not _why_not() and st.button("Delete", icon=":material/delete:", key=f"delete-{note.token}", type="tertiary"):
        _remove(sweep, [note])


def _note_form(sweep: str, trial: str) -> None:
    if off := _why_not():
        elements.note(off)
        return
    if not current().settings.login:
        given = st.text_input("Your name", value=_author(), max_chars=100, key="name_of_author")
        st.session_state[_AUTHOR] = given.strip()
    with st.form("note", clear_on_submit=True, border=False):
        text = st.text_area("Note", max_chars=4000, height=80)
        tags = st.text_input("Tags, separated by commas", max_chars=400)
        if st.form_submit_button("Add note") and (text.strip() or tags.strip()):
            _add(sweep, Note(NOTE, _author(), text, stored_notes.parse_tags(tags), trial or None))


def _views(sweep: str, views: Sequence[Note]) -> None:
    """Links that load the page anew, because a link within a session leaves the choices of the page as they are."""
    pages = current().pages
    for note in reversed(views[-_MOST:]):
        if note.page is None or note.page not in pages:
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            address = {key: value for key, value in note.address.items() if key not in _NEVER_KEPT}
            url = f"{note.page}?{urlencode({'sweep': sweep, **address}, doseq=True)}"
            st.html(f'<a href="{html.escape(url)}">{html.escape(note.text or note.page)}</a>')
            elements.note(f"by {note.author}, {elements.format_time(note.written_at)} UTC")
            _delete_button(sweep, note)


def _view_form(sweep: str, page: str) -> None:
    if _why_not():
        return
    with st.form("view_title", clear_on_submit=True, border=False):
        title = st.text_input("Title of the view as it is now", max_chars=100)
        if st.form_submit_button("Save view") and title.strip():
            values = {key: elements.query_values(key) for key in st.query_params if key not in _NEVER_KEPT}
            address = {key: many[0] if len(many) == 1 else many for key, many in values.items()}
            _add(sweep, Note(VIEW, _author(), title, page=page, address=address))


def _author() -> str:
    """The login's address, otherwise the name that the user has entered."""
    if current().settings.login:
        return access.email() or "a user without an e-mail address"
    return str(st.session_state.get(_AUTHOR) or _system_user())


def _system_user() -> str:
    """The user who runs the dashboard."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without users
        return "dashboard"


def _why_not() -> str:
    """Why nothing can be written; '' if it can."""
    shared = current()
    if reason := buttons.disabled_reason(shared):
        return reason
    return "" if access.may_act(shared.settings) else "To write notes, this session needs the token."


def _add(sweep: str, note: Note) -> None:
    shared = current()
    buttons.check_allowed(f"a {note.kind}")
    stored_notes.add(shared.reader.store, shared.reader.check(sweep), note)
    shared.reader.forget()
    st.rerun()


def _remove(sweep: str, notes: Sequence[Note]) -> None:
    shared = current()
    buttons.check_allowed("deleting a note")
    for note in notes:
        stored_notes.remove(shared.reader.store, shared.reader.check(sweep), note.token)
    shared.reader.forget()
    st.rerun()
