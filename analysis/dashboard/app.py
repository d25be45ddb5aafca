"""The script that Streamlit runs for every session: checks access, then shows the page that the address names."""

from __future__ import annotations

import streamlit as st

from analysis.dashboard import context, settings
from analysis.dashboard.auth import access
from analysis.dashboard.screens import compare, report, sweep, sweeps, trial, try_it
from analysis.dashboard.widgets import elements


def main() -> None:
    st.set_page_config("inpaint-sweeps", ":material/grid_view:", layout="wide")
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
    page = st.navigation(list(shown.values()), position="top")
    page.run()
    if given.login:
        with st.container(horizontal=True, vertical_alignment="center"):
            elements.note(f"Logged in as {access.email() or 'a user without an e-mail address'}.")
            access.log_out()


if __name__ == "__main__":
    main()
