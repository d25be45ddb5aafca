"""Access checks of a session: who may view pages, and who may start or stop something, by token or by login."""

from __future__ import annotations

import hmac

import streamlit as st

from analysis.dashboard.settings import DashboardSettings

_KNOWN = "token_known"


def may_view(settings: DashboardSettings) -> bool:
    """Whether this session may view pages. Removes the token from the address, so that a copied address lacks it."""
    offered = st.query_params.get("token")
    if offered is not None:
        st.session_state[_KNOWN] = _token_matches(settings, offered)
        del st.query_params["token"]
    return not settings.closed or may_act(settings)


def may_act(settings: DashboardSettings) -> bool:
    """Whether this session may start, stop and try: needs the login if one is configured, otherwise the token."""
    if settings.login:
        return _is_logged_in() and _is_allowed(settings)
    return bool(st.session_state.get(_KNOWN))


def show_login_form(settings: DashboardSettings, why: str) -> None:
    """Show a form for the token, or the login button. After a correct token the page runs again."""
    if settings.login:
        _ask_login(settings)
        return
    with st.form("token", width=440):
        st.markdown(f"**Token**  \n{why}")
        offered = st.text_input("Token", type="password", label_visibility="collapsed", autocomplete="off")
        if st.form_submit_button("Continue", type="primary"):
            if _token_matches(settings, offered):
                st.session_state[_KNOWN] = True
                st.rerun()
            st.error("Wrong token. `sweeps dashboard` printed the right one when it was started.")


def _token_matches(settings: DashboardSettings, offered: str) -> bool:
    return hmac.compare_digest(offered.encode(), settings.token.encode())


# --- logins -----------------------------------------------------------------------------------------------------------


def _ask_login(settings: DashboardSettings) -> None:
    with st.container(border=True, width=440):
        if not _is_logged_in():
            st.markdown("Log in to see this dashboard.")
            st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)
            return
        assert not _is_allowed(settings)
        st.markdown("You are logged in, but not allowed here. Ask whoever runs this dashboard to add your address.")
        st.text(email() or "Your login provider sent no e-mail address, or one that is not verified.")
        log_out()


def log_out() -> None:
    st.button("Log out", icon=":material/logout:", on_click=st.logout)


def _is_logged_in() -> bool:
    return bool(st.user.get("is_logged_in"))


def email() -> str:
    """E-mail address of the user in lower case; '' if the provider sent none or has not verified it."""
    address = st.user.get("email")
    return address.lower() if isinstance(address, str) and st.user.get("email_verified") is not False else ""


def _is_allowed(settings: DashboardSettings) -> bool:
    return not settings.allowed or email() in settings.allowed
