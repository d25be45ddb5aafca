"""Access checks of a session: who may view pages, and who may start or stop something, by token or by login."""

from __future__ import annotations

import hmac
from urllib.parse import quote

import streamlit as st

from analysis.dashboard.settings import DashboardSettings

_KNOWN = "token_known"
_OFFERED = "token_offered"


def may_view(settings: DashboardSettings) -> bool:
    """Whether this session may view pages. Removes a token that is left in the address: a copied address lacks it."""
    offered = st.query_params.get("token")
    if offered is not None:
        st.session_state[_KNOWN] = token_matches(settings, offered)
        del st.query_params["token"]
    return not settings.closed or may_act(settings)


def may_act(settings: DashboardSettings) -> bool:
    """Whether this session may start, stop and try: needs the login if one is configured, otherwise the token."""
    if settings.login:
        return _is_logged_in() and _is_allowed(settings)
    if not st.session_state.get(_KNOWN):
        name, value = cookie(settings)
        kept = st.context.cookies.get(name)
        st.session_state[_KNOWN] = isinstance(kept, str) and hmac.compare_digest(kept.encode(), value.encode())
    return bool(st.session_state[_KNOWN])


def keep_offered() -> None:
    """Exchange a token that was entered in the form for the cookie, with a request that `Guard` answers."""
    offered = st.session_state.pop(_OFFERED, None)
    if offered is not None:
        ask = f"fetch('?token={quote(offered, safe='')}', {{redirect: 'manual'}})"
        st.html(f"<script>{ask}</script>", unsafe_allow_javascript=True)


def cookie(settings: DashboardSettings) -> tuple[str, str]:
    """Name and value of the cookie of a browser that has shown the token; it does not reveal the token."""
    name, value = (hmac.new(settings.token.encode(), word, "sha256").hexdigest() for word in (b"name", b"value"))
    return f"sweeps-{name[:12]}", value


def show_login_form(settings: DashboardSettings, why: str) -> None:
    """Show a form for the token, or the login button. After a correct token the page runs again."""
    if settings.login:
        _ask_login(settings)
        return
    with st.form("token", width=440):
        st.markdown(f"**Token**  \n{why}")
        offered = st.text_input("Token", type="password", label_visibility="collapsed", autocomplete="off")
        if st.form_submit_button("Continue", type="primary"):
            if token_matches(settings, offered):
                st.session_state[_KNOWN] = True
                st.session_state[_OFFERED] = offered
                st.rerun()
            st.error("Wrong token. `sweeps dashboard` printed the right one when it was started.")


def token_matches(settings: DashboardSettings, offered: str) -> bool:
    """Whether this is the token; never with a login, which replaces it."""
    if settings.login:
        return False
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
