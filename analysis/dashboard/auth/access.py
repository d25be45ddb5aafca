"""Who may look and who may act: by the token or by a login, asked in the session before anything else is shown."""

from __future__ import annotations

import hmac

import streamlit as st

from analysis.dashboard.settings import DashboardSettings

_KNOWN = "token_known"


def may_view(settings: DashboardSettings) -> bool:
    """Whether this session may see pages. Takes a token out of the address, so that no copied address carries it."""
    offered = st.query_params.get("token")
    if offered is not None:
        st.session_state[_KNOWN] = _is_right(settings, offered)
        del st.query_params["token"]
    return not settings.closed or may_act(settings)


def may_act(settings: DashboardSettings) -> bool:
    """Whether this session may start, stop and try: it has logged in where there is a login, else shown the token."""
    if settings.login:
        return _is_logged_in() and _is_allowed(settings)
    return bool(st.session_state.get(_KNOWN))


def show_login_form(settings: DashboardSettings, why: str) -> None:
    """A form for the token, or the way to the login; the page runs again when it is right."""
    if settings.login:
        _ask_login(settings)
        return
    with st.form("token", width=440):
        st.markdown(f"**Token**  \n{why}")
        offered = st.text_input("Token", type="password", label_visibility="collapsed", autocomplete="off")
        if st.form_submit_button("Continue", type="primary"):
            if _is_right(settings, offered):
                st.session_state[_KNOWN] = True
                st.rerun()
            st.error("That is not this dashboard's token. `sweeps dashboard` printed it when it was started.")


def _is_right(settings: DashboardSettings, offered: str) -> bool:
    return hmac.compare_digest(offered.encode(), settings.token.encode())


# --- logins -----------------------------------------------------------------------------------------------------------


def _ask_login(settings: DashboardSettings) -> None:
    with st.container(border=True, width=440):
        if not _is_logged_in():
            st.markdown("This dashboard shows its pages to who has logged in.")
            st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)
            return
        assert not _is_allowed(settings)
        st.markdown("You have logged in, but this dashboard does not let you in. Who has started it can add you.")
        st.text(email() or "Your provider tells no e-mail address, or says that it is not verified.")
        log_out()


def log_out() -> None:
    st.button("Log out", icon=":material/logout:", on_click=st.logout)


def _is_logged_in() -> bool:
    return bool(st.user.get("is_logged_in"))


def email() -> str:
    """Of who has logged in, in lower case; '' where the provider tells none, or one that it has not verified."""
    said = st.user.get("email")
    return said.lower() if isinstance(said, str) and st.user.get("email_verified") is not False else ""


def _is_allowed(settings: DashboardSettings) -> bool:
    return not settings.allowed or email() in settings.allowed
